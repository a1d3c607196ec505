"""How much work goes into one shard, and which output shard a document belongs to."""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

import numpy as np
from jaxtyping import Int64, UInt64

BYTES_A_READING_SHARD = 4_000_000
FILES_A_READING_SHARD = 512
_SMALLEST_OUTPUT = 1_000_000
_LARGEST_OUTPUT = 64_000_000
_OUTPUTS_WANTED = 8
"""Enough for later stages to work in parallel, few enough to list."""


class Sized(Protocol):
    """Anything with a size in bytes."""

    @property
    def n_bytes(self) -> int:
        """Its bytes."""
        ...


Item = TypeVar("Item", bound=Sized)


def groups(items: Iterable[Item]) -> Iterator[tuple[Item, ...]]:
    """Cut a list into runs of a few megabytes; larger items stand alone."""
    run: list[Item] = []
    for item in items:
        size = sum(other.n_bytes for other in run)
        if run and (
            size + item.n_bytes > BYTES_A_READING_SHARD or len(run) >= FILES_A_READING_SHARD
        ):
            yield tuple(run)
            run = []
        run.append(item)
    if run:
        yield tuple(run)


def n_output_shards(n_bytes: int) -> int:
    """How many files hold so much text; at least one."""
    few = min(_OUTPUTS_WANTED, n_bytes // _SMALLEST_OUTPUT)
    return max(1, few, -(-n_bytes // _LARGEST_OUTPUT))


def output_shard(order: UInt64[np.ndarray, " N"], n_shards: int) -> Int64[np.ndarray, " N"]:
    """Shard of each document: equal ranges of the sort key, so that shards follow its order."""
    return (((order >> np.uint64(32)) * np.uint64(n_shards)) >> np.uint64(32)).astype(np.int64)
