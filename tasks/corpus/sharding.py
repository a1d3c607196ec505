"""How much work goes into one shard, and which output shard a document belongs to."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int64, UInt64

BYTES_A_READING_SHARD = 4_000_000
FILES_A_READING_SHARD = 512
_SMALLEST_OUTPUT = 1_000_000
_LARGEST_OUTPUT = 64_000_000
_OUTPUTS_WANTED = 8
"""Enough for later stages to work in parallel, few enough to list."""


def groups(sizes: Sequence[int]) -> Iterator[range]:
    """Cut a list into runs of a few megabytes; larger items stand alone.

    Args:
        sizes: bytes of each item.
    """
    start, run_bytes = 0, 0
    for index, size in enumerate(sizes):
        is_full = run_bytes + size > BYTES_A_READING_SHARD or index - start >= FILES_A_READING_SHARD
        if index > start and is_full:
            yield range(start, index)
            start, run_bytes = index, 0
        run_bytes += size
    if start < len(sizes):
        yield range(start, len(sizes))


def n_output_shards(n_bytes: int) -> int:
    """How many files hold so much text; at least one."""
    few = min(_OUTPUTS_WANTED, n_bytes // _SMALLEST_OUTPUT)
    return max(1, few, -(-n_bytes // _LARGEST_OUTPUT))


def output_shard(order: UInt64[np.ndarray, " N"], n_shards: int) -> Int64[np.ndarray, " N"]:
    """Shard of each document: equal ranges of the sort key, so that shards follow its order."""
    return (((order >> np.uint64(32)) * np.uint64(n_shards)) >> np.uint64(32)).astype(np.int64)
