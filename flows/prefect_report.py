"""The run's end as Prefect shows it: the numbers, and where the page and the model are."""

from prefect.artifacts import create_markdown_artifact

from infra.artifacts import Artifact, open_artifact
from infra.parquet import read_table
from tasks.evaluation.summary import summary_table


def show_in_prefect(model: Artifact, report: Artifact) -> None:
    """Attach the table of numbers to the flow run."""
    metrics = read_table(open_artifact(report, "metrics.parquet") / "metrics.parquet")
    header, *rows = summary_table(metrics)
    lines = [_row(header), _row(["---"] * len(header)), *map(_row, rows)]
    create_markdown_artifact(
        key="report",
        markdown="\n".join(
            [*lines, "", f"- model: `{model.uri}`", f"- report: `{report.uri}/report.html`"]
        ),
        description="What the new tokenizer gained and lost",
    )


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
