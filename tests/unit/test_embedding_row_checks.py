"""Rows that no model can use are refused, and equal ones are counted."""

import tracemalloc

import numpy as np
import pytest
from letter_rows import (
    EXTENDED,
    mean_rows,
    plan_for,
    rows_for,
    source_rows,
    vocabulary,
)

from tasks.embedding.checks import BadRowsError, check_rows, find_duplicates
from tasks.embedding.config_source import MeanOfPieces
from tasks.embedding.description import describe
from tasks.embedding.row_weights import RowWeights
from tasks.embedding.rows import Origins


def test_equal_rows_of_tokens_without_pieces_count_too():
    target = vocabulary([b"a", b"z", b"y"])
    plan, old = plan_for(target), source_rows()
    rows = mean_rows(old, target, fallback=("mean",))
    rows.input[2] = rows.input[1]
    assert describe(rows, old, plan)["n_equal_rows"] == 1


def test_a_head_bias_that_is_no_number_is_refused():
    old = source_rows(bias=True)
    rows = mean_rows(old, EXTENDED)
    assert rows.head_bias is not None
    rows.head_bias[3] = np.nan
    with pytest.raises(BadRowsError, match=r"1 head bias rows are not finite"):
        describe(rows, old, plan_for(EXTENDED))


def test_summary_counts_equal_rows():
    # The same pieces in another order, or one piece more often: one mean, by construction.
    target = vocabulary([b"abbc", b"bcab", b"bb", b"bbbb"])
    plan, old = plan_for(target), source_rows(tied=True)
    summary = describe(mean_rows(old, target), old, plan)
    assert (summary["n_equal_rows"], summary["n_unexplained_equal_rows"]) == (2, 0)
    assert summary["tied"] is True


def test_head_rows_of_one_first_piece_and_one_count_are_equal_for_a_reason():
    # aba and abab begin with ab and are as frequent; cb and bcbc begin with others.
    old, plan = source_rows(), plan_for(EXTENDED)
    rows = rows_for(MeanOfPieces(head="prefix_prior"), old)
    summary = describe(rows, old, plan)
    assert (summary["n_equal_rows"], summary["n_equal_head_rows"]) == (0, 1)
    assert summary["n_unexplained_equal_head_rows"] == 0
    assert "first_unexplained_equal_head_rows" not in summary

    assert rows.head is not None
    rows.head[[9, 10]] = rows.head[7]
    summary = describe(rows, old, plan)
    assert (summary["n_equal_head_rows"], summary["n_unexplained_equal_head_rows"]) == (1, 2)
    assert summary["first_unexplained_equal_head_rows"] == "9, 10"


def test_rows_equal_without_a_reason_are_found():
    rows_WD = np.ones((3, 2), np.float32)
    weights = RowWeights.from_lists([[0], [1], [0, 0]], [[1.0], [1.0], [0.5, 0.5]])
    origins = Origins(("mean_of_pieces",) * 3, weights, ("",) * 3)
    found = find_duplicates(rows_WD, origins, np.array([True] * 3))
    assert (found.explained, found.unexplained) == (1, (1,))


def test_equal_rows_are_found_in_any_memory_order_and_without_keeping_them():
    n, width = 512, 1024
    rows_WD = np.random.default_rng(0).normal(size=(n, width)).astype(np.float32)
    rows_WD[[7, 300]] = rows_WD[[5, 2]]
    origins = Origins(("normal",) * n, RowWeights.from_lists([[]] * n, [[]] * n), ("",) * n)
    made_W = np.array([True] * n)
    tracemalloc.start()
    found = find_duplicates(rows_WD, origins, made_W)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found.explained, found.unexplained) == (0, (7, 300))
    assert peak < rows_WD.nbytes / 4
    assert find_duplicates(np.asfortranarray(rows_WD), origins, made_W) == found


@pytest.mark.parametrize(("value", "what"), [(np.nan, "not finite"), (0.0, "zero")])
def test_rows_no_model_can_use_are_refused(value: float, what: str):
    rows_WD = np.ones((4, 3), np.float32)
    rows_WD[2] = value
    with pytest.raises(BadRowsError, match=rf"1 head rows are {what} .*\[2\]"):
        check_rows("head", rows_WD, np.array([False, False, True, False]))


def test_zero_row_of_the_source_stays():
    check_rows("input", np.zeros((1, 3), np.float32), np.array([False]))
