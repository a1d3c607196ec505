"""The leaderboard: who is compared with whom, in which order, and what it says."""

import math

import numpy as np
import pyarrow as pa
import pytest

from tasks.evaluation.compare import Arm
from tasks.evaluation.config import Contestant
from tasks.evaluation.intervals import Resampling
from tasks.evaluation.leaderboard import Measured, leaderboard
from tasks.evaluation.leaderboard_page import board_markdown, render_board
from tasks.evaluation.leaderboard_view import (
    NOTHING_TRAINED,
    board_sentences,
    board_table,
    lines_of,
)
from tasks.evaluation.measure import metrics_table

RESAMPLING = Resampling(200, 0.95, 0)
N_TEXTS, N_BYTES = 12, 100


def _measured(
    name: str,
    kind: str,
    bits: float,
    *,
    tokenizer: str | None = None,
    initialiser: str | None = None,
    is_trained: bool = False,
    n_tokens: int = 25,
) -> Measured:
    """A model whose bits per byte are ``bits`` over all texts, hard and easy ones alike."""
    who = Contestant.model_validate(
        {"name": name, "kind": kind, "tokenizer": tokenizer, "initialiser": initialiser,
         "is_trained": is_trained}
    )  # fmt: skip
    hardness = np.linspace(0.5, 1.5, N_TEXTS)
    documents = pa.table(
        {
            "doc_id": [f"d{i}" for i in range(N_TEXTS)],
            "piece": pa.array([0] * N_TEXTS, pa.int32()),
            "suite": ["heldout"] * N_TEXTS,
            "source": ["books"] * N_TEXTS,
            "n_bytes": [N_BYTES] * N_TEXTS,
            "n_tokens": [n_tokens] * N_TEXTS,
            "nats": bits * math.log(2) * N_BYTES * hardness,
        }
    )
    nothing = pa.table({})
    return Measured(who, Arm(name, metrics_table(documents, RESAMPLING), documents, *[nothing] * 2))


@pytest.fixture(scope="module")
def board() -> pa.Table:
    return leaderboard(
        [
            _measured("source", "source", 1.8, n_tokens=40),
            _measured("focus, untrained", "swapped", 2.2, tokenizer="german",
                      initialiser="focus"),
            _measured("focus", "swapped", 1.6, is_trained=True, tokenizer="german",
                      initialiser="focus"),
            _measured("mean", "swapped", 1.9, is_trained=True, tokenizer="german",
                      initialiser="<mean>"),
            _measured("bytes", "control_bytes", 1.5, is_trained=True, n_tokens=40),
            _measured("flops", "control_flops", 1.7, is_trained=True, tokenizer="german",
                      n_tokens=40),
            _measured("others", "control_flops", 1.1, is_trained=True, tokenizer="other",
                      n_tokens=40),
        ],
        RESAMPLING,
    )  # fmt: skip


def _value(board: pa.Table, arm: str, metric: str) -> float:
    [row] = [r for r in board.to_pylist() if (r["arm"], r["metric"]) == (arm, metric)]
    return row["value"]


def test_differences_are_to_the_source_and_to_the_controls_of_the_same_tokenizer(board: pa.Table):
    assert _value(board, "focus", "bits_per_byte_vs_source") == pytest.approx(-0.2)
    assert _value(board, "focus", "bits_per_byte_vs_control_bytes") == pytest.approx(0.1)
    assert _value(board, "focus", "bits_per_byte_vs_control_flops") == pytest.approx(-0.1)
    assert _value(board, "focus", "tokens_saved") == pytest.approx(1 - 25 / 40)


def test_an_untrained_model_is_not_compared_with_trained_controls(board: pa.Table):
    metrics = {r["metric"] for r in board.to_pylist() if r["arm"] == "focus, untrained"}
    assert "bits_per_byte_vs_source" in metrics
    assert not any("control" in metric for metric in metrics)


def test_lines_are_ranked_by_the_last_measure_and_join_both_phases(board: pa.Table):
    lines = lines_of(board, "heldout")
    assert [line.last["value"] for line in lines] == pytest.approx([1.1, 1.5, 1.6, 1.7, 1.8, 1.9])
    focus = lines[2]
    assert focus.label == "german · focus"
    assert focus.untrained is not None
    assert focus.untrained["value"] == pytest.approx(2.2)


def test_sentences_name_the_winner_and_what_it_lost_to(board: pa.Table):
    [said] = board_sentences(board)
    assert "best of 2 is german · focus: 1.600 bits per byte after training" in said
    assert "0.200 better than the source model" in said
    assert "0.100 worse than the control at equal bytes" in said
    assert "0.100 better than the control at equal FLOPs" in said


def test_the_table_has_a_column_for_what_was_measured_alone(board: pa.Table):
    header, *rows = board_table(board, "heldout")
    assert "seed" not in header  # there is one
    assert {len(row) for row in rows} == {len(header)}
    by_name = {row[1]: dict(zip(header, row, strict=True)) for row in rows}
    assert by_name["focus"]["before training"] == "2.200"
    assert by_name["as it is"]["less source"] == ""


def test_the_page_escapes_names_and_holds_every_line(board: pa.Table):
    page = render_board(board, {"origin": "a <model>"}, [("focus", "d" * 64, "file:///x")], 0.95)
    assert "&lt;mean&gt;" in page
    assert "<mean>" not in page
    assert "a &lt;model&gt;" in page
    assert page.count("<svg") == 1
    assert "| german | focus |" in board_markdown(board)


def test_a_board_without_training_says_once_that_it_has_no_controls(board: pa.Table):
    untrained = leaderboard(
        [
            _measured("source", "source", 1.8, n_tokens=40),
            _measured("focus", "swapped", 2.2, tokenizer="german", initialiser="focus"),
        ],
        RESAMPLING,
    )
    assert board_sentences(untrained)[1:] == [NOTHING_TRAINED]
    pages = [render_board(one, {"origin": "m"}, [], 0.95) for one in (untrained, board)]
    assert [page.count(NOTHING_TRAINED) for page in pages] == [1, 0]
    assert ["its controls" in page for page in pages] == [False, True]
    assert ["Controls: the source model" in page for page in pages] == [False, True]
    tables = [board_markdown(one) for one in (untrained, board)]
    assert [table.count(NOTHING_TRAINED) for table in tables] == [1, 0]
