"""Choices of the model stages: where a model comes from and in which form it leaves."""

from typing import Annotated, Literal

from pydantic import Field

from tasks.shared.config import PLACE, StageConfig

WeightDtype = Literal["float32", "bfloat16", "float16"]


class HubModel(StageConfig):
    """A repository on the Hugging Face Hub."""

    kind: Literal["hub"]
    repo_id: str = Field(pattern=r"^[\w.-]+/[\w.-]+$", description="owner/name.")
    revision: str = Field(
        default="main", description="Branch, tag or commit; the lock holds the commit."
    )


class DirectoryModel(StageConfig):
    """A folder as transformers writes it: safetensors, config.json and tokenizer files."""

    kind: Literal["directory"]
    path: Annotated[str, PLACE] = Field(
        min_length=1, description="Local folder or s3://bucket/prefix."
    )


class GgufModel(StageConfig):
    """A GGUF file on disk."""

    kind: Literal["gguf"]
    path: Annotated[str, PLACE] = Field(min_length=1, description="The .gguf file.")


class GgufWheelModel(StageConfig):
    """A GGUF file inside a Python wheel, for sites that mirror only a package index."""

    kind: Literal["gguf_wheel"]
    package: str = Field(pattern=r"^[A-Za-z0-9][\w.-]*$", description="Distribution name.")
    version: str = Field(pattern=r"^[0-9][\w.!+-]*$", description="Exact version.")
    member: str | None = Field(
        default=None,
        description="Path of the .gguf inside the wheel; needed where it holds several.",
    )
    sha256: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{64}$",
        description="What the wheel must hash to, if known.",
    )


ModelSource = Annotated[
    HubModel | DirectoryModel | GgufModel | GgufWheelModel, Field(discriminator="kind")
]


class ModelConfig(StageConfig):
    """Import a pretrained model, once, as sharded safetensors."""

    source: ModelSource
    dequantised_dtype: WeightDtype = Field(
        default="bfloat16",
        description=(
            "Dtype of weights unpacked from GGUF blocks. Their block error is larger than the "
            "rounding of bfloat16, the dtype most such models were published in."
        ),
    )
    max_shard_bytes: int = Field(
        default=1_000_000_000,
        gt=0,
        description="Size of one safetensors file; one is held in memory.",
    )


class ExportConfig(StageConfig):
    """The form in which an adapted model ships."""

    dtype: Literal["source"] | WeightDtype = Field(
        default="source",
        description="source: every tensor in the dtype the imported model stores it in.",
    )
    pad_rows_to_multiple_of: int = Field(
        default=1,
        gt=0,
        description="Round the number of token rows up to this multiple; 1 pads nothing.",
    )
    max_shard_bytes: int = Field(
        default=1_000_000_000,
        gt=0,
        description="Size of one safetensors file; one is held in memory.",
    )
