"""Processes that end with the one that started them, whatever ends that."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_POLL_SECONDS = 0.05


def die_with_parent() -> None:
    """Let the kernel kill this process when the thread that started it ends (Linux alone).

    To be called in the child, as ``preexec_fn`` or first thing.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends (Linux alone).

    So that ``end_descendants`` finds them too.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def bury_orphans(own: Collection[int]) -> None:
    """Let the kernel forget adopted processes that ended.

    Args:
        own: children of this process that it waits for itself.
    """
    for pid, parent, state in _processes():
        if parent == os.getpid() and state == "Z" and pid not in own:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def _processes() -> Iterator[tuple[int, int, str]]:
    """Id, parent's id and state of every process of this machine."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            # The name in parentheses may hold spaces; the fields begin after the last one.
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            yield int(stat.parent.name), int(parent), state


def descendants(root: int) -> list[int]:
    """Ids of all live processes below ``root``, parents before their children."""
    children: dict[int, list[int]] = {}
    for pid, parent, state in _processes():
        if state != "Z":
            children.setdefault(parent, []).append(pid)
    found, queue = list[int](), [root]
    while queue:
        queue += (below := children.get(queue.pop(0), []))
        found += below
    return found


def end(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Ask a child to end; kill it if it has not after so many seconds."""
    process.terminate()
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def end_descendants(seconds: float, *, spare: frozenset[int] = frozenset()) -> None:
    """Ask every process below this one to end; kill those that have not after so many seconds.

    Args:
        seconds: between asking and killing.
        spare: children of this process to leave alone, with all below them.
    """
    _signal_all(signal.SIGTERM, spare)
    deadline = time.monotonic() + seconds
    while _doomed(spare) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    while _doomed(spare):  # a process that was just being started may show up late
        _signal_all(signal.SIGKILL, spare)
        time.sleep(_POLL_SECONDS)


def _doomed(spare: frozenset[int]) -> list[int]:
    spared = {one for root in spare for one in (root, *descendants(root))}
    return [one for one in descendants(os.getpid()) if one not in spared]


def _signal_all(number: int, spare: frozenset[int]) -> None:
    for one in _doomed(spare):
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, number)
