"""Where a model or a tokenizer comes from: kinds of places that several stages read."""

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from tasks.shared.config import PLACE, StageConfig

REPO_ID = r"^[\w.-]+/[\w.-]+$"
"""What a repository on the Hub is called: owner/name."""


class HubRepository(StageConfig):
    """A repository on the Hugging Face Hub."""

    kind: Literal["hub"]
    repo_id: str = Field(pattern=REPO_ID, description="owner/name.")
    revision: str = Field(
        default="main", description="Branch, tag or commit; the lock holds the commit."
    )

    @property
    def refresh(self) -> Literal["never", "if_missing"]:
        """When to look again: a commit stays what it is, a branch or tag moves."""
        return "never" if re.fullmatch("[0-9a-f]{40}", self.revision) else "if_missing"


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


class Wheel(StageConfig):
    """A file inside a Python wheel."""

    package: str = Field(pattern=r"^[A-Za-z0-9][\w.-]*$", description="Distribution name.")
    version: str = Field(pattern=r"^[0-9][\w.!+-]*$", description="Exact version.")
    member: str | None = Field(
        default=None,
        description="Path of the file inside the wheel; needed where it holds several.",
    )
    sha256: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{64}$",
        description="What the wheel must hash to, if known.",
    )

    @property
    def requirement(self) -> str:
        """Name and version as pip takes them; the wheel's name in a lock."""
        return f"{self.package}=={self.version}"


class GgufInWheel(Wheel):
    """A GGUF file inside a Python wheel, for sites that mirror only a package index.

    Indexes limit the size of a wheel, so that a larger file comes in ``parts``: wheels that hold a
    stretch of its bytes each. The wheel named first then says what the model is, and its licence.
    """

    kind: Literal["gguf_wheel"]
    parts: tuple[Wheel, ...] = Field(
        default=(), description="Wheels whose files, joined in this order, are the .gguf."
    )
    joined_sha256: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{64}$",
        description="What the joined file must hash to, if known.",
    )

    @model_validator(mode="after")
    def _fields_belong_together(self) -> "GgufInWheel":
        if self.parts and self.member is not None:
            raise ValueError(
                f"member {self.member!r} picks a file of {self.requirement}, but the .gguf is "
                "joined from parts; give member in the part that holds several files."
            )
        if self.joined_sha256 is not None and not self.parts:
            raise ValueError("joined_sha256 is of a file in parts; name them, or give sha256.")
        return self

    @property
    def wheels(self) -> tuple[Wheel, ...]:
        """All wheels to fetch."""
        return (self, *self.parts)

    @property
    def file(self) -> str:
        """The file as messages name it."""
        if not self.parts:
            return f"the .gguf in {self.requirement}"
        joined = ", ".join(part.requirement for part in self.parts)
        return f"the .gguf joined from {joined} (name every part, in order)"
