"""Files below one root, the same way on a local disk and in an S3 bucket.

Paths are relative to the root, with forward slashes. Nothing here depends on conditional writes
for correctness: ``create`` is exclusive where the server supports it.
"""

import errno
import os
import secrets
import shutil
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec

from infra.credentials import without_credentials
from infra.errors import StoreError

_LOST_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError")


@dataclass(frozen=True)
class StoredFile:
    """One file of a store, its path relative to the root."""

    path: str
    n_bytes: int
    modified_seconds: float
    stamp: str
    """Changes with the content: the server's etag, else when it was last written."""


class ObjectStore:
    """Read and write below ``root``: a folder, or ``s3://bucket/prefix``."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        self.is_local = "://" not in root or root.startswith("file://")
        options: dict[str, Any] = {} if self.is_local else {"use_listings_cache": False}
        if root.startswith("s3://"):
            options["config_kwargs"] = {"retries": {"mode": "standard", "max_attempts": 6}}
        self._fs, base = fsspec.core.url_to_fs(self.root, **options)
        self._base = str(base).rstrip("/")

    def _full(self, path: str) -> str:
        if path.startswith("/") or ".." in PurePosixPath(path).parts:
            raise StoreError(
                f"path {path!r} leaves the store {self.root}; paths are relative, without '..'."
            )
        return f"{self._base}/{path}" if path else self._base

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
        """The path on disk; only for a local store."""
        return Path(self._full(path))

    def read(self, path: str) -> bytes:
        """The whole file."""
        with explain(self.root):
            return self._fs.cat_file(self._full(path))

    def read_all(self, paths: Sequence[str]) -> list[bytes]:
        """Several whole files, asked of a server together and not one after the other."""
        if self.is_local:
            return [self.read(path) for path in paths]
        full = [self._full(path) for path in paths]
        with explain(self.root):
            found = self._fs.cat(full) if full else {}
        return [found[name] for name in full]

    def exists(self, path: str) -> bool:
        """Whether a file stands at ``path``."""
        with explain(self.root):
            return bool(self._fs.isfile(self._full(path)))

    def write(self, path: str, data: bytes) -> None:
        """Write the whole file at once; a reader sees the old or the new one, never a part."""
        with explain(self.root):
            if self.is_local:
                with _scratch_beside(Path(self._full(path)), data) as scratch:
                    scratch.replace(self._full(path))
            else:
                self._fs.pipe_file(self._full(path), data)

    def create(self, path: str, data: bytes) -> bool:
        """Write a file that must not exist yet; False when another writer was first."""
        try:
            with explain(self.root):
                if self.is_local:
                    with _scratch_beside(Path(self._full(path)), data) as scratch:
                        os.link(scratch, self._full(path))
                else:
                    self._fs.pipe_file(self._full(path), data, mode="create")
        except StoreError as error:
            if error.__cause__ is not None and _lost_the_race(error.__cause__):
                return False
            raise
        return True

    def upload(self, local: Path, path: str) -> None:
        """Copy a local file into the store."""
        with explain(self.root):
            if self.is_local:
                target = Path(self._full(path))
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(local, target)
            else:
                self._fs.put_file(str(local), self._full(path))

    def download(self, path: str, local: Path) -> None:
        """Copy a file of the store to a local path, whole or not at all."""
        with explain(self.root):
            local.parent.mkdir(parents=True, exist_ok=True)
            partial = local.with_name(f".{local.name}.{secrets.token_hex(4)}")
            try:
                self._fs.get_file(self._full(path), str(partial))
                partial.replace(local)
            finally:
                partial.unlink(missing_ok=True)

    def files(self, prefix: str = "") -> Iterator[StoredFile]:
        """Every file below ``prefix``, sorted by path."""
        with explain(self.root):
            try:
                found = self._fs.find(self._full(prefix), detail=True)
            except FileNotFoundError:
                found = {}
        for name in sorted(found):
            if PurePosixPath(name).name.startswith(".tmp-"):
                continue
            info = found[name]
            modified = info.get("mtime") or info.get("LastModified") or 0.0
            seconds = modified if isinstance(modified, (int, float)) else modified.timestamp()
            stamp = str(info.get("ETag") or modified)
            yield StoredFile(name[len(self._base) + 1 :], int(info["size"]), float(seconds), stamp)

    def children(self, prefix: str = "") -> list[str]:
        """Names directly below ``prefix``, sorted."""
        with explain(self.root):
            try:
                names = self._fs.ls(self._full(prefix), detail=False)
            except FileNotFoundError:
                if not prefix and not self.is_local:
                    raise
                return []
        return sorted({PurePosixPath(name).name for name in names} - {""})

    def delete(self, path: str) -> None:
        """Remove one file or everything below a prefix; nothing there is fine."""
        with explain(self.root):
            try:
                self._fs.rm(self._full(path), recursive=True)
            except FileNotFoundError:
                return

    def check_writable(self) -> None:
        """Write and remove one small file, so that a bad store fails before any work."""
        probe = f".tmp-probe-{secrets.token_hex(8)}"
        self.write(probe, b"tokgraft")
        self.delete(probe)


@lru_cache(maxsize=8)
def store_at(root: str) -> ObjectStore:
    """The store at ``root``, one connection a process."""
    return ObjectStore(root)


@contextmanager
def explain(root: str) -> Generator[None]:
    """Turn what the file system or the server says into one line a person can act on."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(_advice(root, error)) from error
    except Exception as error:
        if type(error).__name__ in _LOST_CREDENTIALS or type(error).__module__.startswith("boto"):
            raise StoreError(_advice(root, error)) from error
        raise


def _advice(root: str, error: Exception) -> str:
    said = without_credentials(" ".join(str(error).split()))
    name = getattr(error, "filename", None)
    if "://" not in root and isinstance(name, str) and not Path(name).is_relative_to(root):
        root = name  # a stage met it at a file of its own
    number = getattr(error, "errno", None)
    if type(error).__name__ in _LOST_CREDENTIALS:
        return f"no credentials for {root} ({said}); set AWS_ACCESS_KEY_ID and its secret."
    if number in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"no space left below {root}, or for scratch files below {tempfile.gettempdir()} "
            f"({said}); free some, or point TOKGRAFT_STORE or TMPDIR elsewhere."
        )
    if isinstance(error, PermissionError) or number == errno.EROFS:
        return (
            f"{root} refuses access ({said}); check its permissions, "
            "the credentials in the environment, or TOKGRAFT_STORE."
        )
    if root.startswith("s3://") and isinstance(error, FileNotFoundError):
        return f"not found in {root} ({said}); the bucket must exist and the object be written."
    return f"{root} failed: {said or type(error).__name__}; check TOKGRAFT_STORE and the server."


def _lost_the_race(error: BaseException) -> bool:
    if isinstance(error, FileExistsError):
        return True
    return getattr(error, "errno", None) == errno.EINVAL and "PreconditionFailed" in repr(error)


@contextmanager
def _scratch_beside(target: Path, data: bytes) -> Generator[Path]:
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".tmp-{secrets.token_hex(8)}")
    try:
        with scratch.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield scratch
    finally:
        scratch.unlink(missing_ok=True)
