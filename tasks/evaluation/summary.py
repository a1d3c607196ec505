"""The numbers of a report in words and in one small table: for the terminal, Prefect and the page.

Works on the report's ``metrics.parquet`` alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

ARMS = ("source", "initial", "adapted", "control")
Key = tuple[str, str, str]
"""Model, suite, metric."""
_LINES = (
    ("bits_per_byte", "bits per byte"),
    ("bits_per_byte_vs_source", "- less source"),
    ("bits_per_byte_vs_control", "- less control"),
    ("bytes_per_token", "bytes per token"),
    ("tokens_saved", "tokens saved"),
)


def rows_by_key(metrics: pa.Table) -> dict[Key, dict[str, Any]]:
    """Index the rows about whole suites."""
    return {
        (row["model"], row["suite"], row["metric"]): row
        for row in metrics.to_pylist()
        if row["subset"] == "all"
    }


def arms_of(metrics: pa.Table) -> list[str]:
    """Name the models measured, in reading order."""
    present = set(metrics["model"].to_pylist())
    return [arm for arm in ARMS if arm in present]


def suites_of(metrics: pa.Table) -> list[str]:
    """Name the suites, the corpus' own held-out part first."""
    return sorted(set(metrics["suite"].to_pylist()), key=lambda suite: (suite != "heldout", suite))


def summary_table(metrics: pa.Table) -> list[list[str]]:
    """Lay out the headline numbers.

    Returns:
        A header and rows of equal length: suite, measure, then a column a model.
    """
    arms, by_key = arms_of(metrics), rows_by_key(metrics)
    table = [["suite", "measure", *arms]]
    for suite in suites_of(metrics):
        for metric, label in _LINES:
            found = [by_key.get((arm, suite, metric)) for arm in arms]
            if any(found):
                table.append([suite, label, *(format_cell(metric, row) for row in found)])
    return table


def format_cell(metric: str, row: Mapping[str, Any] | None) -> str:
    """Write a value, and its interval where it is a difference or a share."""
    if row is None:
        return ""
    if metric == "tokens_saved":
        return f"{row['value']:.1%}"
    if "_vs_" in metric:
        return f"{row['value']:+.3f}{format_interval(row, '+.3f')}"
    return f"{row['value']:.3f}" if metric == "bits_per_byte" else f"{row['value']:.2f}"


def format_interval(row: Mapping[str, Any], spec: str) -> str:
    """Write an interval in brackets; nothing where there is none."""
    return "" if row["low"] is None else f" [{row['low']:{spec}}, {row['high']:{spec}}]"


def sentences(metrics: pa.Table) -> list[str]:
    """Say what the numbers say, gains and losses alike."""
    by_key, said = rows_by_key(metrics), list[str]()
    for suite in suites_of(metrics):
        source = by_key.get(("source", suite, "bits_per_byte"))
        adapted = by_key.get(("adapted", suite, "bits_per_byte"))
        if source is None or adapted is None:
            continue
        where = "On held-out text of the corpus" if suite == "heldout" else f"On “{suite}” text"
        said.append(
            f"{where}, the adapted model needs {adapted['value']:.3f} bits per byte and the "
            f"source model {source['value']:.3f}: "
            + _verdict(by_key.get(("adapted", suite, "bits_per_byte_vs_source")))
        )
        if control := by_key.get(("adapted", suite, "bits_per_byte_vs_control")):
            said.append(
                "Against the control, the source model trained on the same bytes with its old "
                f"tokenizer: {_verdict(control)}"
            )
        initial = by_key.get(("initial", suite, "bits_per_byte"))
        saved = by_key.get(("adapted", suite, "tokens_saved"))
        if initial is not None and saved is not None:
            share = saved["value"]
            said.append(
                f"Before any training the new rows gave {initial['value']:.3f}. The new tokenizer "
                f"takes {abs(share):.1%} {'fewer' if share >= 0 else 'more'} tokens for this text."
            )
    return said


def _verdict(row: Mapping[str, Any] | None) -> str:
    """Say whether a difference in bits per byte is a gain, a loss, or not clear."""
    if row is None:
        return "no text was scored by both."
    word = "better" if row["value"] < 0 else "worse"
    if row["low"] is None:
        return f"the adapted model is {word} by {abs(row['value']):.3f}, on one text only."
    if row["low"] <= 0 <= row["high"]:
        return f"no clear difference ({row['value']:+.3f}{format_interval(row, '+.3f')})."
    near, far = sorted((abs(row["low"]), abs(row["high"])))
    return (
        f"the adapted model is {word} by {abs(row['value']):.3f} "
        f"(between {near:.3f} and {far:.3f})."
    )


def report_markdown(metrics: pa.Table) -> str:
    """Write the sentences and the table as Markdown."""
    header, *rows = summary_table(metrics)
    return "\n".join(
        ["\n".join(sentences(metrics)), "", _line(header), _line(["---"] * len(header))]
        + [_line(row) for row in rows]
    )


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
