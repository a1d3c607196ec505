"""Ragged pieces and the mean of them."""

import numpy as np
import pytest

from tasks.embedding.mean_of_pieces import mean_of_pieces
from tasks.embedding.pieces import Pieces
from tasks.shared.errors import InputError
from tasks.shared.vocabulary import UncoverableTokenError


def random_case(seed: int = 0) -> tuple[np.ndarray, list[list[int]]]:
    rng = np.random.default_rng(seed)
    source_VD = rng.normal(size=(23, 5)).astype(np.float32)
    return source_VD, [rng.integers(0, 23, size=rng.integers(1, 7)).tolist() for _ in range(40)]


def test_pieces_by_hand():
    pieces = Pieces.from_lists([[3, 1], [], [2]])
    assert len(pieces) == 3
    assert pieces.lengths.tolist() == [2, 0, 1]
    assert pieces.first().tolist() == [3, -1, 2]
    kept = pieces.select(np.array([True, False, True]))
    assert [kept.of(0), kept.of(1)] == [[3, 1], [2]]


def test_mean_by_hand():
    source_VD = np.array([[1, 0], [3, 4], [0, 2]], dtype=np.float32)
    rows = mean_of_pieces(source_VD, Pieces.from_lists([[0, 1], [2], [0, 1, 2, 2]]))
    np.testing.assert_array_equal(rows, np.array([[2, 2], [0, 2], [1, 2]], dtype=np.float32))


def test_same_vocabulary_changes_no_bit():
    source_VD = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    source_VD[2, 1] = -0.0
    rows = mean_of_pieces(source_VD, Pieces.from_lists([[i] for i in range(7)]))
    assert rows.tobytes() == source_VD.tobytes()


def test_permuted_vocabulary_permutes_rows():
    source_VD, _ = random_case()
    order = np.random.default_rng(1).permutation(len(source_VD))
    rows = mean_of_pieces(source_VD, Pieces.from_lists([[int(i)] for i in order]))
    assert rows.tobytes() == source_VD[order].tobytes()


def test_agrees_with_a_loop():
    source_VD, lists = random_case()
    loop_WD = np.stack([source_VD[ids].mean(axis=0) for ids in lists])
    rows_WD = mean_of_pieces(source_VD, Pieces.from_lists(lists))
    np.testing.assert_allclose(rows_WD, loop_WD, atol=1e-6)


def test_norms_stay_within_the_source():
    source_VD, lists = random_case()
    rows_WD = mean_of_pieces(source_VD, Pieces.from_lists(lists))
    assert np.linalg.norm(rows_WD, axis=1).max() <= np.linalg.norm(source_VD, axis=1).max() + 1e-6


def test_token_without_pieces_is_named():
    source_VD, _ = random_case()
    with pytest.raises(UncoverableTokenError, match=r"1 of 2 new .*\[1\].*fallback") as caught:
        mean_of_pieces(source_VD, Pieces.from_lists([[0], []]))
    assert isinstance(caught.value, InputError)
