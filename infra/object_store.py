"""Files below one root, the same way on a local disk and in an S3 bucket.

Paths are relative to the root, with forward slashes. Nothing here depends on conditional writes
for correctness: ``create`` is exclusive where the server supports it.
"""

import secrets
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath

from infra.bucket_files import BucketFiles
from infra.errors import StoreError
from infra.local_files import SCRATCH, LocalFiles
from infra.store_errors import explain
from infra.stored_file import StoredFile, UnfinishedUpload

__all__ = ["ObjectStore", "StoredFile", "UnfinishedUpload", "explain", "store_at"]


class ObjectStore:
    """Read and write below ``root``: a folder, or ``s3://bucket/prefix``."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        self.is_local = "://" not in root or root.startswith("file://")
        if not self.is_local and not self.root.startswith("s3://"):
            raise StoreError(
                f"{root} is neither a folder nor s3://bucket/prefix; name one of these."
            )
        self._files = LocalFiles(self.root) if self.is_local else BucketFiles(self.root)

    def _own(self, path: str) -> str:
        if path.startswith("/") or ".." in PurePosixPath(path).parts:
            raise StoreError(
                f"path {path!r} leaves the store {self.root}; paths are relative, without '..'."
            )
        return path

    def uri(self, path: str) -> str:
        """The address of ``path`` for people and for ``relative``."""
        return f"{self.root}/{path}"

    def relative(self, uri: str) -> str:
        """The path below this root of an address made by ``uri``."""
        if not uri.startswith(f"{self.root}/"):
            raise StoreError(
                f"{uri} is not in the store {self.root}; set TOKGRAFT_STORE to the store it is in."
            )
        return uri[len(self.root) + 1 :]

    def local_path(self, path: str) -> Path:
        """The path on disk.

        Raises:
            StoreError: this store is a bucket.
        """
        if not isinstance(self._files, LocalFiles):
            raise StoreError(f"{self.root} is no folder, and {path} was to be on a disk.")
        return self._files.root / self._own(path)

    def read(self, path: str) -> bytes:
        """The whole file.

        Raises:
            MissingFileError: there is none.
        """
        with explain(self.root):
            return self._files.read(self._own(path))

    def read_all(self, paths: Sequence[str]) -> list[bytes]:
        """Several whole files, asked of a server together and not one after the other."""
        with explain(self.root):
            return self._files.read_all([self._own(path) for path in paths])

    def exists(self, path: str) -> bool:
        """Whether a file stands at ``path``."""
        with explain(self.root):
            return self._files.exists(self._own(path))

    def write(self, path: str, data: bytes) -> None:
        """Write the whole file at once; a reader sees the old or the new one, never a part."""
        with explain(self.root):
            self._files.write(self._own(path), data)

    def create(self, path: str, data: bytes) -> bool:
        """Write a file that must not exist yet; False when another writer was first.

        Read back what stands: False also comes when this writer was first and the server's answer
        was lost, and True comes to several writers where a server ignores the condition.
        """
        with explain(self.root):
            return self._files.create(self._own(path), data)

    @property
    def refuses_conditions(self) -> bool:
        """Whether ``create`` was told that this server knows no conditional writes."""
        return self._files.refuses_conditions

    def upload(self, local: Path, path: str) -> None:
        """Copy a local file into the store."""
        with explain(self.root):
            self._files.upload(local, self._own(path))

    def download(self, path: str, local: Path, n_bytes: int | None = None) -> None:
        """Copy a file of the store to a local path, whole or not at all.

        Args:
            path: in the store.
            local: where to.
            n_bytes: its size where it is known: saves asking for it.
        """
        with explain(self.root):
            self._files.download(self._own(path), local, n_bytes)

    def files(self, prefix: str = "") -> Iterator[StoredFile]:
        """Every file below ``prefix``, sorted by path."""
        with explain(self.root):
            found = list(self._files.files(self._own(prefix)))
        for file in sorted(found, key=lambda file: file.path):
            if not PurePosixPath(file.path).name.startswith(SCRATCH):
                yield file

    def children(self, prefix: str = "") -> list[str]:
        """Names directly below ``prefix``, sorted."""
        with explain(self.root):
            return sorted(set(self._files.children(self._own(prefix))) - {""})

    def delete(self, path: str) -> None:
        """Remove one file or everything below a prefix; nothing there is fine."""
        with explain(self.root):
            self._files.delete(self._own(path))

    def delete_file(self, path: str) -> None:
        """Remove one file; nothing there is fine."""
        with explain(self.root):
            self._files.delete_file(self._own(path))

    def unfinished_uploads(self) -> list[UnfinishedUpload]:
        """What killed uploads of long files left in a bucket."""
        with explain(self.root):
            return self._files.unfinished_uploads()

    def abort_upload(self, upload: UnfinishedUpload) -> None:
        """Remove what a killed upload left."""
        with explain(self.root):
            self._files.abort_upload(upload)

    def check_writable(self) -> None:
        """Write and remove one small file, so that a bad store fails before any work."""
        probe = f"{SCRATCH}probe-{secrets.token_hex(8)}"
        self.write(probe, b"tokgraft")
        self.delete_file(probe)


@lru_cache(maxsize=8)
def store_at(root: str) -> ObjectStore:
    """The store at ``root``."""
    return ObjectStore(root)
