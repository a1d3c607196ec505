"""The run's end as Prefect shows it: the numbers, and where the page and the model are."""

from prefect.artifacts import create_markdown_artifact
from prefect.context import FlowRunContext

from infra.artifacts import Artifact, open_artifact
from infra.parquet import read_table
from tasks.evaluation.leaderboard_page import board_markdown
from tasks.evaluation.summary import measures_markdown, report_markdown


def show_in_prefect(model: Artifact, report: Artifact) -> None:
    """Attach the table of numbers to the flow run; nothing to do where none runs (a plan)."""
    if FlowRunContext.get() is None:
        return
    metrics = read_table(open_artifact(report, "metrics.parquet") / "metrics.parquet")
    places = f"- model: `{model.uri}`\n- report: `{report.uri}/report.html`\n"
    create_markdown_artifact(
        key="report",
        markdown=f"{report_markdown(metrics)}\n\n{places}",
        description="What the new tokenizer gained and lost",
    )


def show_leaderboard_in_prefect(board: Artifact) -> None:
    """Attach the leaderboard to the flow run; nothing to do where none runs (a plan)."""
    if FlowRunContext.get() is None:
        return
    table = read_table(open_artifact(board, "leaderboard.parquet") / "leaderboard.parquet")
    place = f"- page: `{board.uri}/leaderboard.html`\n"
    create_markdown_artifact(
        key="leaderboard",
        markdown=f"{board_markdown(table)}\n\n{place}",
        description="Tokenizers and initialisers compared",
    )


def show_measures_in_prefect(measured: Artifact) -> None:
    """Attach a model's measures to the flow run; nothing to do where none runs (a plan)."""
    if FlowRunContext.get() is None:
        return
    metrics = read_table(open_artifact(measured, "metrics.parquet") / "metrics.parquet")
    create_markdown_artifact(
        key="measures",
        markdown=f"{measures_markdown(metrics)}\n\n- measures: `{measured.uri}`\n",
        description="How well the model reads the held-out texts",
    )
