"""From scored pieces to the numbers of one model.

Every number is pooled over documents: sum over sum, never a mean of ratios.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Float64

from tasks.evaluation.intervals import Estimate, Resampling, bits_per_byte_of, ratio
from tasks.evaluation.pieces import Piece
from tasks.shared.errors import InputError

FEW_DOCUMENTS = 10
"""Below this many documents, intervals resample their pieces instead."""
TASK = "language_model"
METRIC_SCHEMA = pa.schema(
    {
        "suite": pa.string(),
        "task": pa.string(),
        "subset": pa.string(),
        "metric": pa.string(),
        "value": pa.float64(),
        "low": pa.float64(),
        "high": pa.float64(),
        "unit": pa.string(),
        "n": pa.int64(),
    }
)


class NothingHeldOutError(InputError):
    """The corpus has no held-out text to measure on."""


class NotFiniteError(InputError):
    """The model's output is not a number."""


@dataclass(frozen=True)
class Units:
    """Sums by the unit that is resampled: a document, or a piece where documents are few."""

    nats: Float64[np.ndarray, " N"]
    n_bytes: np.ndarray
    n_tokens: np.ndarray


def documents_table(
    pieces: Sequence[Piece],
    nats: Float64[np.ndarray, " N"],
    n_tokens: Sequence[int],
    ok: np.ndarray,
) -> pa.Table:
    """One row a piece; nats are null where the tokenizer does not give the text back.

    Raises:
        NothingHeldOutError: there is no piece.
        NotFiniteError: a document's nats are no finite number.
    """
    if not pieces:
        raise NothingHeldOutError(
            "The corpus holds no held-out text to measure on; raise its held-out share or its "
            "byte budget."
        )
    if bad := [p.document.doc_id for p, x in zip(pieces, nats, strict=True) if not np.isfinite(x)]:
        raise NotFiniteError(
            f"The model gives no finite probability to {len(bad)} of {len(pieces)} texts (first: "
            f"{bad[0]}); its weights hold NaN or infinity, train again with a lower learning rate."
        )
    return pa.table(
        {
            "doc_id": pa.array([p.document.doc_id for p in pieces], pa.string()),
            "piece": pa.array([p.index for p in pieces], pa.int32()),
            "suite": pa.array([p.document.suite for p in pieces], pa.string()),
            "source": pa.array([p.document.source for p in pieces], pa.string()),
            "n_bytes": pa.array([p.n_bytes for p in pieces], pa.int64()),
            "n_tokens": pa.array(list(n_tokens), pa.int64()),
            "nats": pa.array(nats, pa.float64(), mask=~ok),
        }
    )


def metrics_table(documents: pa.Table, resampling: Resampling) -> pa.Table:
    """Summarise a documents table by suite and, within a suite of several, by source."""
    rows: list[dict[str, object]] = []
    for suite, subset, part in subsets(documents):
        failed = part["nats"].null_count
        rows.append(
            metric_row(suite, subset, "n_round_trip_failures", _plain(failed, part), "texts")
        )
        part = part.filter(part["nats"].is_valid())
        if part.num_rows == 0:
            continue
        units = to_units(part)
        n_bytes, n_tokens = int(units.n_bytes.sum()), int(units.n_tokens.sum())
        bits = bits_per_byte_of(units.nats, units.n_bytes, resampling)
        length = ratio(units.n_bytes, units.n_tokens, resampling)
        n_documents = len(set(part["doc_id"].to_pylist()))
        rows += [
            metric_row(suite, subset, "bits_per_byte", bits, "bits/byte"),
            metric_row(suite, subset, "bytes_per_token", length, "bytes/token"),
            metric_row(suite, subset, "n_documents", _plain(n_documents, part), "documents"),
            metric_row(suite, subset, "n_bytes", _plain(n_bytes, part), "bytes"),
            metric_row(suite, subset, "n_tokens", _plain(n_tokens, part), "tokens"),
        ]
    return pa.Table.from_pylist(rows, schema=METRIC_SCHEMA)


def subsets(documents: pa.Table) -> Iterator[tuple[str, str, pa.Table]]:
    """Yield (suite, subset, rows): the whole suite as ``all``, then each of several sources."""
    for suite in sorted(set(documents["suite"].to_pylist())):
        whole = _where(documents, "suite", suite)
        yield suite, "all", whole
        sources = sorted(set(whole["source"].to_pylist()))
        if len(sources) > 1:
            for source in sources:
                yield suite, source, _where(whole, "source", source)


def _where(table: pa.Table, column: str, value: str) -> pa.Table:
    return table.filter(pa.array([cell == value for cell in table[column].to_pylist()], pa.bool_()))


def to_units(documents: pa.Table) -> Units:
    """Sum pieces by document, unless documents are too few to resample."""
    ids, unit_of = np.unique(np.asarray(documents["doc_id"].to_pylist()), return_inverse=True)
    if len(ids) < FEW_DOCUMENTS:
        unit_of = np.arange(documents.num_rows)
    n = int(unit_of.max()) + 1
    sums = {
        name: np.bincount(unit_of, documents[name].to_numpy(), n)
        for name in ("nats", "n_bytes", "n_tokens")
    }
    return Units(sums["nats"], sums["n_bytes"].astype(np.int64), sums["n_tokens"].astype(np.int64))


def _plain(value: int, part: pa.Table) -> Estimate:
    return Estimate(float(value), None, None, part.num_rows)


def metric_row(
    suite: str, subset: str, metric: str, estimate: Estimate, unit: str
) -> dict[str, object]:
    """One row of ``METRIC_SCHEMA``."""
    return {
        "suite": suite,
        "task": TASK,
        "subset": subset,
        "metric": metric,
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "unit": unit,
        "n": estimate.n,
    }
