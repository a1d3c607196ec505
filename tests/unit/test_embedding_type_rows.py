"""Rows of terms of one semantic type."""

import numpy as np
import pytest

from tasks.embedding.description import describe
from tasks.embedding.pieces import Pieces
from tasks.embedding.row_plan import RowPlan
from tasks.embedding.row_weights import RowWeights
from tasks.embedding.rows import NewRows, Origins, SourceRows
from tasks.embedding.type_rows import with_type_means

OLD = np.array([[1, 0], [0, 2], [4, 4]], np.float32)
PIECES = [[0], [1], [2], [0, 1], [1, 2], [0, 2]]
PLAN = RowPlan(
    np.array([0, 1, 2, -1, -1, -1], np.int32),
    Pieces.from_lists(PIECES),
    ("copied", "copied", "copied", "new", "new", "new"),
)
TYPES = {0: "drug", 3: "drug", 4: "drug", 5: "alone"}
"""An old token and two new ones are drugs; one type has a single member."""


def made_rows(*, tied: bool) -> NewRows:
    """Means of pieces."""
    weights = RowWeights.from_lists(PIECES, [[1 / len(ids)] * len(ids) for ids in PIECES])
    origins = Origins(("copied",) * 3 + ("mean_of_pieces",) * 3, weights, ("",) * 6)
    rows_WD = weights.rows(OLD)
    head = None if tied else 2 * rows_WD
    head_origins = None if tied else origins
    return NewRows(rows_WD, head, None, ("kept",) * 3 + ("made",) * 3, origins, head_origins)


def test_mixture_by_hand():
    # Rows 0, 3 and 4 are (1, 0), (0.5, 1) and (2, 3): their mean is (3.5, 4) / 3.
    rows = made_rows(tied=True)
    mixed = with_type_means(rows, PLAN, TYPES, 0.3, of_head=True)
    mean = np.array([3.5, 4]) / 3
    np.testing.assert_allclose(mixed.input[3], 0.7 * np.array([0.5, 1]) + 0.3 * mean, rtol=1e-6)
    np.testing.assert_allclose(mixed.input[4], 0.7 * np.array([2, 3]) + 0.3 * mean, rtol=1e-6)
    others = [0, 1, 2, 5]
    assert mixed.input[others].tobytes() == rows.input[others].tobytes()
    assert mixed.head is None
    np.testing.assert_allclose(rows.input[3], [0.5, 1])


@pytest.mark.parametrize("of_head", [True, False])
def test_head_rows_of_first_pieces_are_left_alone(of_head: bool):
    rows = made_rows(tied=False)
    mixed = with_type_means(rows, PLAN, TYPES, 0.3, of_head=of_head)
    assert rows.head is not None
    assert mixed.head is not None
    if of_head:
        np.testing.assert_allclose(mixed.head, 2 * mixed.input, rtol=1e-6)
    else:
        assert mixed.head is rows.head
        assert mixed.head_origins is rows.head_origins


def test_lineage_says_what_is_left_of_the_row_and_what_came_to_it():
    origins = with_type_means(made_rows(tied=True), PLAN, TYPES, 0.25, of_head=True).input_origins
    assert origins.weights.of(3) == ([0, 1], [0.375, 0.375])
    assert origins.weights.of(5) == ([0, 2], [0.5, 0.5])
    assert origins.notes[3] == "0.25 of the mean of 3 rows of type drug"
    assert origins.notes[0] == origins.notes[5] == ""
    assert origins.methods[3] == "mean_of_pieces"


def test_nothing_but_the_type_gives_equal_rows_that_are_explained():
    mixed = with_type_means(made_rows(tied=True), PLAN, TYPES, 1.0, of_head=True)
    np.testing.assert_array_equal(mixed.input[3], mixed.input[4])
    assert mixed.input_origins.methods[3:] == ("type_mean", "type_mean", "mean_of_pieces")
    assert mixed.input_origins.weights.of(3) == ([], [])
    summary = describe(mixed, SourceRows(OLD, OLD, None, tied=True), PLAN)
    assert (summary["n_equal_rows"], summary["n_unexplained_equal_rows"]) == (1, 0)


@pytest.mark.parametrize(("share", "types"), [(0.0, TYPES), (0.5, {5: "alone"}), (0.5, {})])
def test_nothing_to_share_changes_nothing(share: float, types: dict[int, str]):
    rows = made_rows(tied=True)
    assert with_type_means(rows, PLAN, types, share, of_head=True) is rows
