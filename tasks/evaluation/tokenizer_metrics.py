"""A tokenizer's metrics as lines that a person reads, one tokenizer beside the other.

Works on the tokenizer stage's ``metrics.parquet`` alone: suite, tokenizer, metric, value, unit, n,
note. Free of matplotlib, so that a terminal may show the same lines.
"""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

_LABELS = {
    "bytes_per_token": "bytes per token",
    "characters_per_token": "characters per token",
    "fertility": "tokens per word (fertility)",
    "words_split": "words split",
    "strr_leading_space": "distinct words kept whole (STRR), after a space",
    "strr_no_space": "distinct words kept whole (STRR), no space before",
    "nsl": "sequence length (NSL)",
    "renyi_efficiency": "Rényi efficiency, H / log |V|",
    "shannon_entropy": "Shannon entropy, bits",
    "vocabulary_used": "vocabulary used",
    "rare_tokens": "rare tokens",
    "plain_tokens_equal": "plain tokens that the exact encoding has too",
    "plain_tokens_against_exact": "plain tokens / exact tokens",
    "vocabulary_size": "vocabulary size",
    "mean_token_bytes": "mean token length, bytes",
    "longest_token": "longest token, bytes",
    "invalid_utf8_tokens": "tokens that are no valid UTF-8",
    "unreachable_tokens": "tokens that no text has",
}
"""Any other metric is shown by its name."""

_NEARLY_ALL = 0.99
"""A share between it and 1 is of interest for what is left."""


@dataclass(frozen=True)
class MetricLine:
    """One metric of one text.

    Attributes:
        suite: which text, or ``vocabulary``.
        label: what is measured.
        values: written out, one a tokenizer, empty where it has none.
        note: the definition.
    """

    suite: str
    label: str
    values: tuple[str, ...]
    note: str


def metric_lines(metrics: pa.Table, tokenizers: tuple[str, ...]) -> list[MetricLine]:
    """Put the tokenizers' values side by side, in the order in which metrics first come.

    Args:
        metrics: as above.
        tokenizers: names as in the column ``tokenizer``, in reading order.

    Returns:
        One line a suite and metric. Where the tokenizers' notes differ, both are given.
    """
    rows: dict[tuple[str, str, str], dict[str, Any]]
    rows = {(r["suite"], r["metric"], r["tokenizer"]): r for r in metrics.to_pylist()}
    lines: list[MetricLine] = []
    for suite, metric in dict.fromkeys((suite, metric) for suite, metric, _ in rows):
        found = [rows.get((suite, metric, name)) for name in tokenizers]
        values = tuple(format_value(r["value"], r["unit"]) if r else "" for r in found)
        notes = dict.fromkeys(row["note"] for row in found if row)
        lines.append(MetricLine(suite, _LABELS.get(metric, metric), values, " · ".join(notes)))
    return lines


def format_value(value: float, unit: str) -> str:
    """Write a share in percent, a count whole, any other number to two or three places."""
    if unit == "share":
        return f"{value:.3%}" if _NEARLY_ALL < value < 1 else f"{value:.1%}"
    if unit in ("tokens", "bytes"):
        return f"{value:,.0f}"
    return f"{value:.3f}" if unit == "ratio" else f"{value:.2f}"
