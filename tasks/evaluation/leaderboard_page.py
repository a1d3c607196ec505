"""The leaderboard as one page that needs nothing but itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from markupsafe import Markup

from tasks.evaluation.leaderboard_plot import board_plot
from tasks.evaluation.leaderboard_view import (
    board_sentences,
    board_table,
    has_training,
    lines_of,
)
from tasks.evaluation.metric_rows import suite_text, suites_of
from tasks.evaluation.page import template


@dataclass(frozen=True)
class SuiteBoard:
    """What the page shows of one suite."""

    name: str
    plot: Markup
    table: Sequence[Sequence[str]]


@dataclass(frozen=True)
class BoardPage:
    """Everything the page shows."""

    title: str
    sentences: Sequence[str]
    suites: Sequence[SuiteBoard]
    origin: Mapping[str, Any]
    artifacts: Sequence[tuple[str, str, str]]
    """Arm, digest and address of its measures."""
    confidence: float
    has_controls: bool


def render_board(
    board: pa.Table,
    origin: Mapping[str, Any],
    artifacts: Sequence[tuple[str, str, str]],
    confidence: float,
) -> str:
    """Fill the template.

    Args:
        board: the leaderboard.
        origin: of the source model.
        artifacts: as on the page.
        confidence: mass of the intervals.
    """
    suites = [
        SuiteBoard(
            suite_text(suite).capitalize(),
            Markup(board_plot(lines_of(board, suite))),  # made here, no one else's bytes unescaped
            board_table(board, suite),
        )
        for suite in suites_of(board)
    ]
    title = f"{origin.get('origin', 'A model')}: new tokenizers compared"
    page = BoardPage(
        title, board_sentences(board), suites, origin, artifacts, confidence, has_training(board)
    )
    return template("leaderboard.html.j2").render(page=page)


def board_markdown(board: pa.Table) -> str:
    """The same numbers for Prefect."""
    parts = ["\n\n".join(board_sentences(board))]
    for suite in suites_of(board):
        header, *rows = board_table(board, suite)
        lines = [header, ["---"] * len(header), *rows]
        parts.append(f"### {suite_text(suite)}\n\n" + "\n".join(map(_line, lines)))
    return "\n\n".join(parts)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
