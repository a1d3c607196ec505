"""The one way to work over shards: processes or threads on one machine, Ray tasks on a cluster.

Shards are named by files: where a cluster's nodes do not see those, the work stays on this machine.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from infra.errors import InfraError
from infra.settings import Settings, get_settings

Shard = TypeVar("Shard")
Result = TypeVar("Result")

_PR_SET_PDEATHSIG = 1
N_REQUESTS = 12
"""Asked of a server at the same time."""


class WorkerLostError(InfraError, RuntimeError):
    """A process of the pool ended before its work did."""


def map_shards(
    fn: Callable[[Shard], Result],
    shards: Sequence[Shard],
    settings: Settings | None = None,
    *,
    in_threads: bool = False,
) -> Iterator[Result]:
    """Apply ``fn`` to every shard; results in the order of ``shards``.

    Args:
        fn: a module-level function; its result must not depend on which process runs it.
        shards: small descriptions (paths, ranges), not the data itself.
        settings: place and number of processes; this process's by default.
        in_threads: on one machine, threads instead of processes: for work that does not hold the
            interpreter's lock and is over before a process would have started.

    Raises:
        WorkerLostError: a process was killed.
    """
    settings = settings or get_settings()
    if settings.ray_address is not None:
        from infra.ray_cluster import tasks_on_cluster

        with tasks_on_cluster(settings) as apply:
            if apply is not None:
                yield from apply(fn, shards)
                return
    n_processes = min(settings.n_processes or os.cpu_count() or 1, len(shards))
    if n_processes <= 1:
        yield from map(fn, shards)
        return
    if in_threads:
        with ThreadPoolExecutor(n_processes) as threads:
            yield from threads.map(fn, shards)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_processes, context, initializer=_die_with_parent) as pool:
        try:
            yield from pool.map(fn, shards)
        except BrokenProcessPool as error:
            raise WorkerLostError(
                "a process working on shards was killed from outside, most likely for want of "
                "memory; free some, or set TOKGRAFT_N_PROCESSES to a smaller number."
            ) from error


def at_once(fn: Callable[[Shard], Result], items: Sequence[Shard]) -> list[Result]:
    """Apply ``fn``, which waits for a server, to all items in a few threads; results in order."""
    if len(items) <= 1:
        return [fn(item) for item in items]
    with ThreadPoolExecutor(min(N_REQUESTS, len(items))) as threads:
        return list(threads.map(fn, items))


def _die_with_parent() -> None:
    """End this worker when its parent is killed: an orphan would hold files and memory."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
