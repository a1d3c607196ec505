"""Initialisers from the source model alone, each by itself."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tasks.embedding.mean import mean_rows
from tasks.embedding.mean_of_pieces import piece_weights
from tasks.embedding.merge_tree import NoNewMergesError, merge_tree_weights
from tasks.embedding.normal import multivariate_normal_rows, normal_rows
from tasks.embedding.pieces import Pieces
from tasks.embedding.row_weights import RowWeights, spread

FROZEN = Path(__file__).parent.parent / "data" / "embedding" / "mergekit.safetensors"
NOT_ASCII = [319, 336, 359, 385, 399]
"""New tokens with the bytes of "ü". mergekit looks their spelling in the byte alphabet up as if it
were text, and so takes the pieces of two other characters."""


def int32(values: list) -> np.ndarray:
    return np.array(values, dtype=np.int32)


def correlated(n_rows: int = 300, width: int = 5, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(width, width))
    return (rng.normal(size=(n_rows, width)) @ mixing + rng.normal(size=width)).astype(np.float32)


def test_mean_by_hand():
    rows = mean_rows(np.array([[1, 2], [3, 6]], np.float32), 3)
    np.testing.assert_array_equal(rows, np.array([[2, 4]] * 3, np.float32))


def test_normal_has_the_moments_of_old_rows():
    old = correlated()
    made = normal_rows(old, 20_000, np.random.default_rng(1))
    # Standard errors are std / sqrt(20,000) = 0.007 std of a mean and 0.005 std of a std.
    std = old.std(axis=0)
    np.testing.assert_allclose((made.mean(axis=0) - old.mean(axis=0)) / std, 0, atol=0.04)
    np.testing.assert_allclose(made.std(axis=0) / std, 1, atol=0.03)


def test_multivariate_normal_has_the_covariance_of_old_rows():
    old = correlated()
    made = multivariate_normal_rows(old, 50_000, 1.0, np.random.default_rng(1))
    expected = np.cov(old.T, bias=True)
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    np.testing.assert_allclose((np.cov(made.T) - expected) / scale, 0, atol=0.03)
    np.testing.assert_allclose(
        (made.mean(axis=0) - old.mean(axis=0)) / old.std(axis=0), 0, atol=0.03
    )


def test_singular_covariance_spans_no_more_than_old_rows():
    # Four rows of width 9 lie in a space of three dimensions around their mean.
    old = correlated(4, 9)
    made = multivariate_normal_rows(old, 50, 1.0, np.random.default_rng(0))
    assert np.linalg.matrix_rank(made - old.mean(axis=0), tol=1e-3) == 3
    inside = np.vstack([old - old.mean(axis=0), made - old.mean(axis=0)])
    assert np.linalg.matrix_rank(inside, tol=1e-3) == 3


def test_covariance_of_nothing_is_the_mean():
    old = correlated()
    made = multivariate_normal_rows(old, 3, 0.0, np.random.default_rng(0))
    np.testing.assert_array_equal(made, mean_rows(old, 3))


@pytest.mark.parametrize("n_rows", [1, 4096, 4097, 9000])
def test_draws_do_not_depend_on_how_many_follow(n_rows: int):
    old = correlated(20, 3)
    for draw in (
        normal_rows,
        lambda old, n, rng: multivariate_normal_rows(old, n, 1.0, rng),
    ):
        some, more = (draw(old, n, np.random.default_rng(7)) for n in (n_rows, 10_000))
        np.testing.assert_allclose(some, more[:n_rows], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("weighting", "of_input", "of_head"),
    [
        ("uniform", [1, 1, 1], [1, 1, 1]),
        ("by_length", [2, 1, 5], [2, 1, 5]),
        ("geometric", [1, 1, 1], [1, 1 / 2, 1 / 4]),
        ("exponential", np.exp([2, 4, 6]), np.exp([-2, -4, -6])),
    ],
)
def test_weights_by_hand(weighting, of_input, of_head):
    pieces = Pieces.from_lists([[2, 0, 1], [], [1]])
    found = piece_weights(pieces, weighting, np.array([1, 5, 2]))
    for weights, raw in zip(found, (of_input, of_head), strict=True):
        ids, shares = weights.of(0)
        assert ids == [2, 0, 1]
        np.testing.assert_allclose(shares, np.array(raw) / np.sum(raw), rtol=1e-6)
        assert weights.of(1) == ([], [])
        assert weights.of(2) == ([1], [1.0])


def test_many_pieces_leave_finite_weights():
    for weights in piece_weights(Pieces.from_lists([[0] * 2000]), "exponential", np.array([1])):
        assert np.isfinite(weights.weights).all()
        assert weights.weights.sum() == pytest.approx(1.0)


def test_merge_tree_by_hand():
    # Old: a b c. New: a b ab c abc z, with merges a+b and ab+c; nothing makes z.
    weights = merge_tree_weights(3, int32([0, 1, -1, 2, -1, -1]), int32([[0, 1, 2], [2, 3, 4]]))
    assert weights.of(2) == ([0, 1], [0.5, 0.5])
    assert weights.of(4) == ([0, 1, 2], [0.25, 0.25, 0.5])
    assert weights.of(5) == ([], [])
    assert weights.found.tolist() == [True] * 5 + [False]


def test_merge_tree_agrees_with_recursion():
    rng = np.random.default_rng(0)
    n_source, merges = 20, []
    match = list(range(n_source))
    for _ in range(200):
        left, right = rng.integers(0, len(match), size=2).tolist()
        merges.append([left, right, len(match)])
        match.append(-1 if rng.random() < 0.8 else int(rng.integers(0, n_source)))
    parts = {result: (left, right) for left, right, result in merges}

    def oracle(token: int, share: float, found: dict[int, float]) -> dict[int, float]:
        if match[token] >= 0:
            found[match[token]] += share
        else:
            for part in parts[token]:
                oracle(part, share / 2, found)
        return found

    weights = merge_tree_weights(n_source, int32(match), int32(merges))
    for token in range(len(match)):
        ids, shares = weights.of(token)
        expected = oracle(token, 1.0, defaultdict(float))
        assert ids == sorted(expected)
        np.testing.assert_allclose(shares, [expected[i] for i in ids], rtol=1e-6)


def test_merge_tree_needs_merges():
    with pytest.raises(NoNewMergesError, match="use initialiser method mean_of_pieces"):
        merge_tree_weights(2, int32([0, 1]), np.zeros((0, 3), np.int32))


def test_weights_are_taken_and_spread():
    weights = RowWeights.from_lists([[1, 2], [], [0]], [[0.5, 0.5], [], [1.0]])
    taken = weights.take(np.array([2, 0]))
    assert [taken.of(0), taken.of(1)] == [([0], [1.0]), ([1, 2], [0.5, 0.5])]
    table = spread(5, [(np.array([1, 3, 4]), weights), (np.array([0]), taken.take(np.array([0])))])
    assert table.lengths.tolist() == [1, 2, 0, 0, 1]
    assert table.of(1) == ([1, 2], [0.5, 0.5])
    assert table.of(0) == table.of(4) == ([0], [1.0])


@pytest.fixture(scope="module")
def frozen() -> dict[str, np.ndarray]:
    return load_file(FROZEN)


@pytest.mark.parametrize("part", ["input", "head"])
def test_mean_agrees_with_mergekit(frozen: dict[str, np.ndarray], part: str):
    peer_KD = frozen[f"mean_{part}"]
    made_KD = mean_rows(frozen[f"source_{part}"], len(peer_KD))
    np.testing.assert_allclose(made_KD, peer_KD, atol=1e-6)


@pytest.mark.parametrize("part", ["input", "head"])
def test_mean_of_pieces_agrees_with_mergekit(frozen: dict[str, np.ndarray], part: str):
    pieces = Pieces(frozen["pieces"], frozen["piece_offsets"])
    source_VD, peer_KD = frozen[f"source_{part}"], frozen[f"subword_mean_{part}"]
    weights, _ = piece_weights(pieces, "uniform", np.ones(len(source_VD), np.int64))
    differs_K = np.abs(weights.rows(source_VD) - peer_KD).max(axis=1) > 1e-6
    assert frozen["needed_new"][differs_K].tolist() == NOT_ASCII
    assert len(peer_KD) == 119
