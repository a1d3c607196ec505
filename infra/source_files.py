"""Source files, local or in a bucket: listing, hashing once, and a local copy to read.

An index in the local cache remembers the sha256 of (uri, size, mtime or etag), so that looking at
an unchanged source again costs a listing and no reading. Losing the index costs time, nothing else.
"""

import glob
import os
import re
import sqlite3
import time
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from fsspec.utils import glob_translate

from infra.cache import entries_in_use
from infra.downloads import download_folder, keep_remote
from infra.errors import StoreError
from infra.keys import file_sha256
from infra.object_store import explain, store_at
from infra.settings import get_settings

_WILDCARDS = "*?["
_SETTLED_SECONDS = 2.0
"""A file changed more recently than this may change again within one tick of its clock."""


@dataclass(frozen=True)
class SourceFile:
    """One file as it lies there now."""

    uri: str
    name: str
    """Path below the part of the pattern that has no wildcard: the same wherever it lies."""
    n_bytes: int
    stamp: str
    """Its mtime or etag."""


def list_files(pattern: str) -> list[SourceFile]:
    """Files that a path or glob matches, sorted by name; none when nothing is there."""
    if "://" in pattern and not pattern.startswith("file://"):
        return _list_remote(pattern)
    local = os.path.expanduser(pattern.removeprefix("file://"))
    base = _fixed_part(local)
    found = [Path(name) for name in glob.glob(local, recursive=True, include_hidden=False)]
    files = [_local_file(path, base) for path in found if path.is_file()]
    return sorted(files, key=lambda file: file.name)


def sha256_of_all(files: Sequence[SourceFile]) -> list[str]:
    """Hashes of listed files, from the index where they have not changed since."""
    with _index() as index:
        known = {file: _known(index, file) for file in files}
    found = {file: sha256 or _read_sha256(file) for file, sha256 in known.items()}
    fresh = [f for f in files if known[f] is None and _is_settled(f)]
    if fresh:
        with _index() as index:
            rows = [(f.uri, f.n_bytes, f.stamp, found[f]) for f in fresh]
            index.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", rows)
    return [found[file] for file in files]


def _known(index: sqlite3.Connection, file: SourceFile) -> str | None:
    query = "SELECT sha256 FROM files WHERE uri = ? AND n_bytes = ? AND stamp = ?"
    row = index.execute(query, (file.uri, file.n_bytes, file.stamp)).fetchone()
    return None if row is None else row[0]


def _read_sha256(file: SourceFile) -> str:
    if not _is_remote(file.uri):
        return _local_sha256(file.uri)
    with entries_in_use():  # its copy may be let go before it is read: it is fetched again then
        return keep_remote(file.uri, file.n_bytes)


def _is_settled(file: SourceFile) -> bool:
    """Whether (uri, size, stamp) will keep naming this content."""
    if _is_remote(file.uri):
        return bool(file.stamp)
    return time.time() - int(file.stamp) / 1e9 > _SETTLED_SECONDS


def _is_remote(uri: str) -> bool:
    return "://" in uri


def _local_sha256(path: str) -> str:
    with explain(path):
        return file_sha256(Path(path))


def local_copy(uri: str, sha256: str) -> Path | None:
    """A local path with exactly this content: the file itself, or a cached copy of a remote one.

    Returns:
        None when what lies at ``uri`` has gone or is no longer that content.
    """
    if not _is_remote(uri):
        path = Path(uri)
        if not path.is_file():
            return None
        return path if sha256_of_all([_local_file(path, path.parent)]) == [sha256] else None
    folder = download_folder()
    if (kept := folder.path_of(sha256)) is not None:
        return kept
    found = keep_remote(uri)
    return folder.path_of(sha256) if found == sha256 else None


def _fixed_part(pattern: str) -> Path:
    parts = Path(pattern).parts
    fixed = next((i for i, part in enumerate(parts) if _has_wildcard(part)), None)
    return Path(pattern).parent if fixed is None else Path(*parts[:fixed])


def _local_file(path: Path, base: Path) -> SourceFile:
    status = path.stat()
    name = path.relative_to(base).as_posix()
    return SourceFile(str(path.absolute()), name, status.st_size, str(status.st_mtime_ns))


def _list_remote(pattern: str) -> list[SourceFile]:
    root, name = _split(pattern)
    store = store_at(root)
    matches = re.compile(glob_translate(name)).fullmatch if _has_wildcard(name) else name.__eq__
    return [
        SourceFile(store.uri(file.path), file.path, file.n_bytes, file.stamp)
        for file in store.files("" if _has_wildcard(name) else name)
        if matches(file.path)
    ]


def _has_wildcard(path: str) -> bool:
    return any(w in path for w in _WILDCARDS)


def _split(uri: str) -> tuple[str, str]:
    """The folder without wildcards that a pattern begins with, and the rest."""
    scheme, _, path = uri.partition("://")
    parts = path.split("/")
    n_fixed = next((i for i, part in enumerate(parts) if _has_wildcard(part)), len(parts) - 1)
    return f"{scheme}://{'/'.join(parts[:n_fixed])}", "/".join(parts[n_fixed:])


@contextmanager
def _index() -> Generator[sqlite3.Connection]:
    path = get_settings().cache_dir / "source_files.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with closing(sqlite3.connect(path, timeout=60)) as connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS files "
                "(uri TEXT PRIMARY KEY, n_bytes INTEGER, stamp TEXT, sha256 TEXT)"
            )
            yield connection
            connection.commit()
    except sqlite3.DatabaseError as error:
        raise StoreError(
            f"the index {path} cannot be used ({error}); delete it, it is made again."
        ) from error
