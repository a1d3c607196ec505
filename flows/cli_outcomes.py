"""What a person reads when a run has ended."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from flows.adapt import Adapted
    from infra.artifacts import Artifact


def print_outcome(console: Console, adapted: Adapted, export: Path | None) -> None:
    """The numbers, and where everything is."""
    from infra.artifacts import open_artifact
    from infra.parquet import read_table
    from infra.settings import get_settings
    from tasks.evaluation.summary import summary_table

    model = export or open_artifact(adapted.model)
    if adapted.report is None or adapted.report.stage == "leaderboard":
        _print_untrained(console, adapted.report, model)
        return
    report = open_artifact(adapted.report)
    header, *rows = summary_table(read_table(report / "metrics.parquet"))
    table = Table()
    for number, name in enumerate(header):
        # Words stay whole; an interval may go below its value in a narrow terminal.
        table.add_column(name, no_wrap=number < 2, justify="left" if number < 2 else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print(f"model      {model}", soft_wrap=True)
    console.print(f"report     {report / 'report.html'}", soft_wrap=True)
    console.print(f"artifacts  {get_settings().store_root}", soft_wrap=True)


def _print_untrained(console: Console, board: Artifact | None, model: Path) -> None:
    if board is None:
        console.print("This model does not read from left to right, so it was not measured.")
    else:
        print_leaderboard(console, board)
    console.print(f"model        {model}", soft_wrap=True)


def print_leaderboard(console: Console, board: Artifact) -> None:
    """A table a suite, and where the page is."""
    from infra.artifacts import open_artifact
    from infra.parquet import read_table
    from infra.settings import get_settings
    from tasks.evaluation.leaderboard_view import board_sentences, board_table
    from tasks.evaluation.metric_rows import suites_of

    folder = open_artifact(board)
    rows = read_table(folder / "leaderboard.parquet")
    for suite in suites_of(rows):
        header, *lines = board_table(rows, suite)
        table = Table(title=suite, title_justify="left")
        for number, name in enumerate(header):
            table.add_column(name, justify="left" if number < 2 else "right")
        for line in lines:
            table.add_row(*line)
        console.print(table)
    for sentence in board_sentences(rows):
        console.print(sentence, markup=False, highlight=False)
    console.print(f"leaderboard  {folder / 'leaderboard.html'}", soft_wrap=True)
    console.print(f"artifacts    {get_settings().store_root}", soft_wrap=True)
