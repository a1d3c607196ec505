"""The table of a tokenizer's metrics: one row a text, tokenizer and metric."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import pyarrow as pa

METRICS_SCHEMA = pa.schema(
    [
        ("suite", pa.string()),
        ("tokenizer", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("unit", pa.string()),
        ("n", pa.int64()),
        ("note", pa.string()),
    ]
)
VOCABULARY_SUITE = "vocabulary"
"""Stands as suite where a metric is of the vocabulary itself and of no text."""


@dataclass(frozen=True)
class Metric:
    """One row.

    Attributes:
        suite: which texts.
        tokenizer: whose, as in ``source`` and ``new``.
        metric: its name.
        value: the number.
        unit: of the value, as in ``bytes/token``; ``share`` is of 1, ``ratio`` has none.
        n: how many tokens, words or texts the value is taken over.
        note: its definition in short, with what was chosen in it.
    """

    suite: str
    tokenizer: str
    metric: str
    value: float
    unit: str
    n: int
    note: str


def metrics_table(metrics: Iterable[Metric]) -> pa.Table:
    """Make the table, in the order given."""
    return pa.Table.from_pylist([asdict(metric) for metric in metrics], schema=METRICS_SCHEMA)
