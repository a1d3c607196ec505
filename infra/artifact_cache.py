"""Local copies of remote artifacts: checked, bounded, shared by the processes of a machine.

``{cache_dir}/artifacts/{stage}/{attempt}/`` holds the copies of one artifact's files. A process
that uses them holds a shared lock on ``.locks/{stage}-{attempt}.use``, which the system takes away
when the process ends, however it ends. What nobody uses goes when room is needed, the longest
unused first.
"""

import fcntl
import logging
import os
import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.manifests import is_intact, not_as_written
from infra.object_store import ObjectStore, explain
from infra.parallel import at_once
from infra.settings import get_settings

_LOG = logging.getLogger(__name__)


@dataclass
class CacheCounts:
    """What this process's reads of remote artifacts came to."""

    hits: int = 0
    fetched: int = 0
    fetched_bytes: int = 0
    evicted: int = 0
    evicted_bytes: int = 0


counts = CacheCounts()
"""hits and fetched count files, evicted counts artifacts."""


def cached_copy(store: ObjectStore, path: str, stage: str, files: Sequence[dict[str, Any]]) -> Path:
    """The folder with local copies of these files of one attempt; not evicted while in use.

    Args:
        store: where the attempt lies.
        path: the attempt.
        stage: whose it is.
        files: entries of its manifest; each is checked against its sha256.

    Raises:
        CorruptFileError: what the store holds is not what was written.
    """
    folder = _root() / stage / path.rpartition("/")[2]
    with explain(str(_root()), "TOKGRAFT_CACHE_DIR"):
        _use(folder)
        missing = [f for f in files if not is_intact(folder / f["path"], f)]
        counts.hits += len(files) - len(missing)
        if missing:
            with _locked(_lock_of(folder, "fetch"), fcntl.LOCK_EX):  # once a machine
                missing = [f for f in missing if not is_intact(folder / f["path"], f)]
                _fetch(store, path, stage, folder, missing)
    return folder


@contextmanager
def copies_in_use() -> Generator[None]:
    """Let go, at the end of the block, of the copies that were opened in it."""
    held: dict[Path, int] = {}
    token = _in_use.set(held)
    try:
        yield
    finally:
        _in_use.reset(token)
        for descriptor in held.values():
            os.close(descriptor)


def _root() -> Path:
    return get_settings().cache_dir / "artifacts"


def _lock_of(folder: Path, kind: str) -> Path:
    return _root() / ".locks" / f"{folder.parent.name}-{folder.name}.{kind}"


def _fetch(
    store: ObjectStore, path: str, stage: str, folder: Path, files: Sequence[dict[str, Any]]
) -> None:
    for remains in folder.rglob(".*"):  # of a download that was killed: this process alone is here
        remains.unlink(missing_ok=True)
    n_bytes = sum(f["n_bytes"] for f in files)
    _make_room(n_bytes)

    def fetch(file: dict[str, Any]) -> None:
        local = folder / file["path"]
        store.download(f"{path}/{file['path']}", local, file["n_bytes"])
        if not is_intact(local, file):
            local.unlink(missing_ok=True)
            raise not_as_written(store, path, file, stage)

    at_once(fetch, files)
    counts.fetched += len(files)
    counts.fetched_bytes += n_bytes
    _LOG.info("cache: fetched %d files of %s, %d bytes", len(files), store.uri(path), n_bytes)


def _make_room(n_bytes: int) -> None:
    """Evict until this much fits under the bound; what is in use may exceed it."""
    bound = get_settings().cache_bytes
    with _locked(_root() / ".locks" / "room", fcntl.LOCK_EX):
        entries = {folder: _size(folder) for folder in _root().glob("[!.]*/*")}
        total = sum(entries.values())
        for folder in sorted(entries, key=_last_used):
            if total + n_bytes <= bound:
                return
            if _evict(folder):
                total -= entries[folder]
                counts.evicted += 1
                counts.evicted_bytes += entries[folder]
                _LOG.info("cache: evicted %s, %d bytes", folder, entries[folder])
    if total + n_bytes > bound:
        _LOG.warning(
            "cache: %d bytes of artifacts are in use at once, more than TOKGRAFT_CACHE_BYTES=%d",
            total + n_bytes, bound,
        )  # fmt: skip


def _evict(folder: Path) -> bool:
    """Remove an artifact's copies unless some process uses them."""
    lock = _lock_of(folder, "use")
    with suppress(BlockingIOError), _locked(lock, fcntl.LOCK_EX | fcntl.LOCK_NB):
        shutil.rmtree(folder)
        lock.unlink()
        _lock_of(folder, "fetch").unlink(missing_ok=True)
        return True
    return False


def _size(folder: Path) -> int:
    sizes = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a download's scratch file
            sizes += path.lstat().st_size if path.is_file() else 0
    return sizes


def _last_used(folder: Path) -> float:
    lock = _lock_of(folder, "use")
    return lock.stat().st_mtime if lock.exists() else folder.stat().st_mtime


def _use(folder: Path) -> None:
    held = _in_use.get(_for_life)
    if folder not in held:
        held[folder] = _lock(_lock_of(folder, "use"), fcntl.LOCK_SH)
    os.utime(held[folder])


@contextmanager
def _locked(path: Path, how: int) -> Generator[None]:
    descriptor = _lock(path, how)
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(path: Path, how: int) -> int:
    """Lock a file, which may go with what it locks while this process waits for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, how)
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


_in_use: ContextVar[dict[Path, int]] = ContextVar("copies in use")
_for_life: dict[Path, int] = {}
"""What was opened outside of any block is in use until the process ends."""
