"""The local cache: one bound for all that lies in it, and what a process uses stays.

Entries, files or folders, lie at ``{cache_dir}/artifacts/*/*`` and ``{cache_dir}/downloads/*/*``.
A process names those that it uses in a file of its own below ``.in_use``, which it keeps locked:
the system takes the lock away when the process ends, however it ends. What nobody uses goes when
room is needed, the longest unused first.
"""

import fcntl
import logging
import os
import secrets
import shutil
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from infra.settings import get_settings

_LOG = logging.getLogger(__name__)
_KINDS = ("artifacts", "downloads")
_SLACK = 0.01
"""Part of the bound that is made free beyond what is needed: the next few files ask for no look."""
_DIGITS = 20
_IN_USE = ".in_use"
_PROMISED = ".promised"


@dataclass
class CacheCounts:
    """What this process's use of the cache came to."""

    hits: int = 0
    fetched: int = 0
    fetched_bytes: int = 0
    evicted: int = 0
    evicted_bytes: int = 0


counts = CacheCounts()
"""hits and fetched count files of remote artifacts, evicted counts entries."""


@contextmanager
def entries_in_use() -> Generator[None]:
    """Let go, at the end of the block, of the entries that were used in it."""
    holders: dict[Path, _Holder] = {}
    token = _holders.set(holders)
    try:
        yield
    finally:
        _holders.reset(token)
        for holder in holders.values():
            holder.close()


def use(entry: Path) -> None:
    """Keep an entry, there or still to come, to the end of the block; it is the newest now.

    Outside of any block it is kept until the process ends.
    """
    root, held = get_settings().cache_dir, _holders.get(_for_life)
    with _thread_lock:
        holder = held.get(root)
        if holder is None or holder.pid != os.getpid():  # that of whom this was forked from
            holder = held[root] = _Holder(root)
        holder.add(entry.relative_to(root).as_posix())
    with suppress(FileNotFoundError):
        os.utime(entry)


@contextmanager
def room_for(entry: Path, n_bytes: int) -> Generator[None]:
    """Room under the bound for what an entry is about to gain, until it lies there.

    Others are let go for it; what is in use may exceed the bound. Whoever makes room meanwhile
    counts the entry as large as it will be.
    """
    bound, root = get_settings().cache_bytes, get_settings().cache_dir
    promise = _Holder(root, _PROMISED)
    promise.add(f"{_size(entry) + n_bytes} {entry.relative_to(root).as_posix()}")
    try:
        with _locked(root / ".room", fcntl.LOCK_EX) as room:
            # What lies there is known from last time: to look at all for each new one is slow.
            noted = os.pread(room, _DIGITS, 0)
            total = int(noted) + n_bytes if noted.isdigit() else bound + 1
            if total > bound:
                total = _let_go(root, bound)
            os.pwrite(room, b"%0*d" % (_DIGITS, total), 0)
        if total > bound:
            _LOG.warning(
                "cache: %d bytes of %s are in use at once, more than TOKGRAFT_CACHE_BYTES=%d",
                total, root, bound,
            )  # fmt: skip
        yield
    finally:
        promise.close()


@contextmanager
def fetching(entry: Path) -> Generator[None]:
    """One process of the machine at a time fetches what an entry lacks."""
    with _locked(_fetching_lock(get_settings().cache_dir, entry), fcntl.LOCK_EX):
        yield


def _let_go(root: Path, bound: int) -> int:
    """Remove what nobody uses, if that is needed to come below the bound; what is left."""
    sizes = {entry: _size(entry) for kind in _KINDS for entry in root.glob(f"{kind}/[!.]*/*")}
    for promise in _lines_of_the_living(root / _PROMISED):
        n_bytes, _, name = promise.partition(" ")
        sizes[root / name] = max(sizes.get(root / name, 0), int(n_bytes))
    total = sum(sizes.values())
    if total <= bound:
        return total
    held = _lines_of_the_living(root / _IN_USE)
    for entry in sorted(sizes, key=_last_used):
        if total <= bound * (1 - _SLACK):
            break
        if entry.relative_to(root).as_posix() not in held:
            _remove(root, entry)
            total -= sizes[entry]
            counts.evicted += 1
            counts.evicted_bytes += sizes[entry]
            _LOG.info("cache: evicted %s, %d bytes", entry, sizes[entry])
    return total


def _remove(root: Path, entry: Path) -> None:
    if entry.is_dir():
        shutil.rmtree(entry)
    else:
        entry.unlink(missing_ok=True)
    _fetching_lock(root, entry).unlink(missing_ok=True)


def _fetching_lock(root: Path, entry: Path) -> Path:
    return root / ".fetching" / "-".join(entry.relative_to(root).parts)


def _size(entry: Path) -> int:
    sizes = 0
    for path in (entry, *entry.rglob("*")):
        with suppress(FileNotFoundError):  # the scratch file of a download
            sizes += path.lstat().st_size if path.is_file() else 0
    return sizes


def _last_used(entry: Path) -> float:
    try:
        return entry.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _lines_of_the_living(folder: Path) -> set[str]:
    """What holders of living processes say; the files of dead ones go."""
    lines = set[str]()
    for path in folder.glob("*"):
        with suppress(FileNotFoundError):  # a holder may let go meanwhile
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            except BlockingIOError:
                lines.update(path.read_text(encoding="utf-8").splitlines())
            finally:
                os.close(descriptor)
    return lines


class _Holder:
    """What one block of this process uses or was promised, in a file that it keeps locked."""

    def __init__(self, root: Path, folder: str = _IN_USE) -> None:
        self.pid = os.getpid()
        self._room = root / ".room"
        self._path = root / folder / f"{self.pid}-{secrets.token_hex(4)}"
        self._lines: set[str] = set()
        self._descriptor: int | None = None

    def add(self, line: str) -> None:
        if line in self._lines:
            return
        with _locked(self._room, fcntl.LOCK_SH):  # nobody makes room between lock and line
            if self._descriptor is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                self._descriptor = os.open(self._path, flags, 0o644)
                fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            os.write(self._descriptor, f"{line}\n".encode())
        self._lines.add(line)

    def close(self) -> None:
        if self._descriptor is not None:
            if self.pid == os.getpid():
                self._path.unlink(missing_ok=True)
            os.close(self._descriptor)


@contextmanager
def _locked(path: Path, how: int) -> Generator[int]:
    descriptor = _lock(path, how)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(path: Path, how: int) -> int:
    """Lock a file, which may go with what it locks while this process waits for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, how)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


_thread_lock = threading.Lock()
_holders: ContextVar[dict[Path, _Holder]] = ContextVar("holders of cache entries")
_for_life: dict[Path, _Holder] = {}
"""What was used outside of any block is in use until the process ends."""
