"""Choices of the model stages: where a model comes from and in which form it leaves."""

from typing import Annotated, Literal

from pydantic import Field

from tasks.shared.config import StageConfig
from tasks.shared.sources import Directory, GgufFilePath, GgufInWheel, HubRepository

WeightDtype = Literal["float32", "bfloat16", "float16"]


ModelSource = Annotated[
    HubRepository | Directory | GgufFilePath | GgufInWheel, Field(discriminator="kind")
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
