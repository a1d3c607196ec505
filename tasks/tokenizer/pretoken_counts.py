"""Counted pre-tokens: sums over shards and weighted sources, and their form as a table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64, UInt8

from tasks.tokenizer.count_kernels import N_BYTES, N_ENTRIES, START, Table, empty_table, intern_all
from tasks.tokenizer.errors import SourceWeightError

COUNTS_SCHEMA = pa.schema(
    [("source", pa.string()), ("pretoken", pa.binary()), ("count", pa.int64())]
)


@dataclass(frozen=True)
class PretokenCounts:
    """Unique pre-tokens, sorted by bytes.

    Attributes:
        data: UTF-8 bytes of all, end to end.
        starts: where each begins in ``data``, and a last entry B.
        counts: occurrences.
    """

    data: UInt8[np.ndarray, " B"]
    starts: Int64[np.ndarray, " P1"]
    counts: Int64[np.ndarray, " P"]


def merge_counts(
    parts: Iterable[PretokenCounts], weights: Sequence[float] | None
) -> PretokenCounts:
    """Add up counts of shards or sources.

    In memory are the sum and one part at a time.

    Args:
        parts: counts; read once.
        weights: one a part. A weighted sum is rounded to the nearest count, halves to even, and
            words that round to 0 are left out. ``None`` adds exactly.

    Raises:
        SourceWeightError: a weight is negative or no number.
    """
    wrong = [weight for weight in weights or () if not 0 <= weight < float("inf")]
    if wrong:
        raise SourceWeightError(
            f"A source has the weight {wrong[0]}, and weights must be numbers from 0 up; "
            "give 0 to leave a source out."
        )
    table = empty_table()
    totals_E = np.zeros(0, dtype=np.int64 if weights is None else np.float64)
    numbered = enumerate(parts) if weights is None else zip(weights, parts, strict=True)
    for weight, part in numbered:
        table, entries_P = intern_all(table, _read_only(part.data), part.starts.copy())
        n_more = max(0, int(table.n[N_ENTRIES]) - len(totals_E))
        totals_E = np.append(totals_E, np.zeros(n_more, totals_E.dtype))
        np.add.at(totals_E, entries_P, part.counts if weights is None else weight * part.counts)
    return sorted_counts(table, totals_E if weights is None else np.rint(totals_E).astype(np.int64))


def sorted_counts(table: Table, counts_E: Int64[np.ndarray, " E"]) -> PretokenCounts:
    """Sort the strings of a hash table by bytes, each with its count; those with 0 are left out.

    Args:
        table: the strings.
        counts_E: by entry.
    """
    starts = np.append(table.entries[: len(counts_E), START], table.n[N_BYTES])
    rows = pa.table({"pretoken": _strings(table.arena, starts), "count": counts_E})
    rows = rows.filter(pc.field("count") > 0).sort_by("pretoken").combine_chunks()
    data, starts = bytes_and_offsets(rows["pretoken"].chunk(0))
    return PretokenCounts(data[: starts[-1]], starts, rows["count"].to_numpy())


def bytes_and_offsets(
    strings: pa.Array,
) -> tuple[UInt8[np.ndarray, " B"], Int64[np.ndarray, " S1"]]:
    """View the bytes of an Arrow array of strings or bytes, and where each element begins in them.

    Args:
        strings: without nulls; slices are fine.

    Returns:
        All bytes of the buffer, read-only, and one offset more than elements.
    """
    large = pa.types.is_large_string(strings.type) or pa.types.is_large_binary(strings.type)
    _, offsets, data = strings.buffers()
    if len(strings) == 0 or data is None:
        return np.frombuffer(b"", np.uint8), np.zeros(len(strings) + 1, np.int64)
    window = slice(strings.offset, strings.offset + len(strings) + 1)
    offsets_S1 = np.frombuffer(offsets, np.int64 if large else np.int32)[window]
    return np.frombuffer(data, np.uint8), offsets_S1.astype(np.int64)


def to_table(source: str, counts: PretokenCounts) -> pa.Table:
    """Write the counts of one source as rows of ``COUNTS_SCHEMA``."""
    columns = [
        pa.repeat(source, len(counts.counts)),
        _strings(counts.data, counts.starts).cast(pa.binary()),
        pa.array(counts.counts),
    ]
    return pa.Table.from_arrays(columns, schema=COUNTS_SCHEMA)


def from_table(table: pa.Table) -> dict[str, PretokenCounts]:
    """Read the counts of each source, in the order in which the sources come up.

    Rows of one source and pre-token, as several shards may have them, are added up.
    """
    return {
        source: merge_counts(
            (
                PretokenCounts(*bytes_and_offsets(batch["pretoken"]), batch["count"].to_numpy())
                for batch in table.filter(pc.field("source") == source).to_batches()
            ),
            weights=None,
        )
        for source in table["source"].unique().to_pylist()
    }


def _strings(data: UInt8[np.ndarray, " B"], starts: Int64[np.ndarray, " S1"]) -> pa.Array:
    buffers = [None, pa.py_buffer(starts), pa.py_buffer(data)]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(starts) - 1, buffers)


def _read_only(values: np.ndarray) -> np.ndarray:
    """A view that cannot be written, for which alone kernels are compiled."""
    view = values.view()
    view.flags.writeable = False
    return view
