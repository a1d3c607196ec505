"""The numbers of a report in one small table: for the terminal, Prefect and the page.

Works on the report's ``metrics.parquet`` alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from tasks.evaluation.metric_rows import arms_of, format_interval, rows_by_key, suites_of
from tasks.evaluation.wording import caveats, sentences

_LINES = (
    ("bits_per_byte", "bits per byte"),
    ("bits_per_byte_vs_source", "- less source"),
    ("bits_per_byte_vs_control", "- less control"),
    ("bytes_per_token", "bytes per token"),
    ("tokens_saved", "tokens saved"),
)


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


def report_markdown(metrics: pa.Table) -> str:
    """Write the sentences and the table as Markdown."""
    header, *rows = summary_table(metrics)
    said = [*sentences(metrics), *caveats(metrics)]
    return "\n".join(
        ["\n\n".join(said), "", _line(header), _line(["---"] * len(header))]
        + [_line(row) for row in rows]
    )


def measures_markdown(metrics: pa.Table) -> str:
    """Write one model's measures, by suite and source, as a Markdown table with intervals."""
    shown = {"bits_per_byte": ".3f", "bytes_per_token": ".2f"}
    cells = {
        (row["suite"], row["subset"], row["metric"]): f"{row['value']:{spec}}"
        + format_interval(row, spec)
        for row in metrics.to_pylist()
        if (spec := shown.get(row["metric"])) is not None
    }
    header = ["suite", "text", *(metric.replace("_", " ") for metric in shown)]
    places = dict.fromkeys((suite, subset) for suite, subset, _ in cells)
    rows = [[*place, *(cells.get((*place, metric), "") for metric in shown)] for place in places]
    return "\n".join(map(_line, [header, ["---"] * len(header), *rows]))


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
