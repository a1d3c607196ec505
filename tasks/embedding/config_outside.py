"""What an initialiser reads that lies outside the run: the config of its lock."""

from typing import Annotated, Literal

from tasks.shared.config import PLACE, StageConfig
from tasks.shared.sources import Directory, HubRepository


class OutsidePath(StageConfig):
    """A place, local, ``s3://`` or ``deb:package/path``, and what is expected there."""

    role: str
    """What it is to the initialiser; the lock knows its files by this name."""
    path: Annotated[str, PLACE]
    kind: Literal["file", "dictionary", "catalogues"] = "file"
    """One file, a dictionary of one or two files, or all files that a glob matches."""


class OutsideFiles(StageConfig):
    """All that an initialiser reads from outside."""

    paths: tuple[OutsidePath, ...] = ()
    encoder: Directory | HubRepository | None = None

    @property
    def refresh(self) -> Literal["never", "if_missing", "always"]:
        """When to look again: packages and repositories when asked to, files always."""
        is_file = any(not path.path.startswith("deb:") for path in self.paths)
        if is_file or isinstance(self.encoder, Directory):
            return "always"
        return "if_missing" if self.paths or self.encoder is None else self.encoder.refresh
