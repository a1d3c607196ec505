"""From the tables that the reading shards leave to what the rules judge."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt64

from tasks.corpus.lines import order_and_side
from tasks.corpus.scratch import scratch_batches
from tasks.corpus.selection import Candidates


def gather(
    tables: Sequence[Path],
    source_of_table: Sequence[int],
    heldout_only: frozenset[int],
    seed: int,
    heldout_fraction: float,
) -> Candidates:
    """All documents without their text, in the order of the tables.

    Args:
        tables: scratch files.
        source_of_table: index of the source each came from.
        heldout_only: sources all of whose documents are held out.
        seed: of order and split.
        heldout_fraction: share of the other documents held out.
    """
    ids: list[str] = []
    sources: list[int] = []
    n_lines: list[np.ndarray] = [np.zeros(0, dtype=np.int64)]
    hashes: list[np.ndarray] = [np.zeros(0, dtype=np.uint64)]
    sizes: list[np.ndarray] = [np.zeros(0, dtype=np.uint32)]
    for path, source in zip(tables, source_of_table, strict=True):
        for batch in scratch_batches(path):
            ids += batch["doc_id"].to_pylist()
            sources += [source] * batch.num_rows
            n_lines.append(batch["line_hash"].value_lengths().to_numpy().astype(np.int64))
            hashes.append(batch["line_hash"].flatten().to_numpy())
            sizes.append(batch["line_bytes"].flatten().to_numpy())
    order, is_heldout = order_and_side(ids, seed, heldout_fraction)
    source = np.array(sources, dtype=np.int64)
    return Candidates(
        ids,
        source,
        order,
        is_heldout | np.isin(source, list(heldout_only)),
        np.concatenate(n_lines),
        np.concatenate(hashes),
        np.concatenate(sizes),
    )


def lines_of(tables: Iterable[Path]) -> UInt64[np.ndarray, " E"]:
    """Sorted distinct hashes of all lines with text in these tables."""
    hashes = [
        batch["line_hash"].flatten().to_numpy()
        for path in tables
        for batch in scratch_batches(path)
    ]
    found = np.unique(np.concatenate([np.zeros(0, dtype=np.uint64), *hashes]))
    return found[found != 0]
