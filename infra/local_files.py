"""Files below one folder of this machine."""

import os
import secrets
import shutil
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from infra.stored_file import StoredFile, UnfinishedUpload

SCRATCH = ".tmp-"
"""Names of files that are not whole yet begin with it."""


class LocalFiles:
    """Read and write below a folder; paths are relative to it."""

    refuses_conditions = False

    def __init__(self, root: str) -> None:
        self.root = Path(os.path.expanduser(root.removeprefix("file://"))).absolute()

    def read(self, path: str) -> bytes:
        """The whole file."""
        return (self.root / path).read_bytes()

    def read_all(self, paths: Sequence[str]) -> list[bytes]:
        """Several whole files."""
        return [self.read(path) for path in paths]

    def exists(self, path: str) -> bool:
        """Whether a file stands there."""
        return (self.root / path).is_file()

    def write(self, path: str, data: bytes) -> None:
        """Write the whole file at once; a reader sees the old or the new one, never a part."""
        with _scratch_beside(self.root / path, data) as scratch:
            scratch.replace(self.root / path)

    def create(self, path: str, data: bytes) -> bool:
        """Write a file that must not exist yet; False when another writer was first."""
        with _scratch_beside(self.root / path, data) as scratch, suppress(FileExistsError):
            os.link(scratch, self.root / path)
            return True
        return False

    def upload(self, local: Path, path: str) -> None:
        """Copy a file into the folder."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(local, self.root / path)

    def download(self, path: str, local: Path, n_bytes: int | None) -> None:
        """Copy a file out of the folder, whole or not at all."""
        del n_bytes  # only a server is asked differently for long files
        local.parent.mkdir(parents=True, exist_ok=True)
        partial = local.with_name(f".{local.name}.{secrets.token_hex(4)}")
        try:
            shutil.copyfile(self.root / path, partial)
            partial.replace(local)
        finally:
            partial.unlink(missing_ok=True)

    def files(self, prefix: str) -> Iterator[StoredFile]:
        """Every file at the prefix or below it."""
        top = self.root / prefix
        for path in [top] if top.is_file() else top.rglob("*"):
            with suppress(FileNotFoundError):  # gone since it was listed
                if path.name.startswith(SCRATCH) or not path.is_file():
                    continue
                status = path.stat()
                name = path.relative_to(self.root).as_posix()
                stamp = str(status.st_mtime)
                yield StoredFile(name, status.st_size, status.st_mtime, stamp)

    def children(self, prefix: str) -> list[str]:
        """Names directly below the prefix."""
        try:
            return os.listdir(self.root / prefix)
        except FileNotFoundError:
            return []

    def delete_file(self, path: str) -> None:
        """Remove one file; none there is fine."""
        with suppress(FileNotFoundError, NotADirectoryError):
            (self.root / path).unlink()

    def delete(self, path: str) -> None:
        """Remove everything at the path or below it."""
        target = self.root / path
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)

    def unfinished_uploads(self) -> list[UnfinishedUpload]:
        """None: files are written beside their place and moved there."""
        return []

    def abort_upload(self, upload: UnfinishedUpload) -> None:
        """Nothing to take back."""


@contextmanager
def _scratch_beside(target: Path, data: bytes) -> Generator[Path]:
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f"{SCRATCH}{secrets.token_hex(8)}")
    try:
        with scratch.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield scratch
    finally:
        scratch.unlink(missing_ok=True)
