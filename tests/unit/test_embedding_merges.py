"""Composing rows along merges."""

import numpy as np
import pytest

from tasks.embedding.merge_plan import plan_merges
from tasks.embedding.merge_regression import NoMergesError, compose_rows, fit_merges, norm_factor
from tasks.embedding.pieces import Pieces


def int32(values: list) -> np.ndarray:
    return np.array(values, dtype=np.int32)


def linear_vocabulary(width: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Old rows where every merge is exactly [l, r] weights + intercept."""
    rng = np.random.default_rng(0)
    weights_FD = rng.normal(size=(2 * width, width)) * 0.4
    intercept_D = rng.normal(size=width)
    rows, merges = list(rng.normal(size=(30, width))), []
    for _ in range(200):
        left, right = rng.integers(0, len(rows), size=2)
        merges.append([left, right, len(rows)])
        rows.append(np.concatenate([rows[left], rows[right]]) @ weights_FD + intercept_D)
    return np.array(rows, np.float32), int32(merges), weights_FD, intercept_D


def test_exactly_linear_composition_is_recovered():
    source_VD, merges_M3, weights_FD, intercept_D = linear_vocabulary()
    found = fit_merges(source_VD, merges_M3, 1e-10, np.ones(len(merges_M3)))
    np.testing.assert_allclose(found.weights, weights_FD, atol=1e-4)
    np.testing.assert_allclose(found.intercept, intercept_D, atol=1e-4)


def noisy_vocabulary() -> tuple[np.ndarray, np.ndarray]:
    source_VD, merges_M3, _, _ = linear_vocabulary()
    noisy_VD = source_VD + np.random.default_rng(1).normal(size=source_VD.shape, scale=0.3)
    return noisy_VD.astype(np.float32), merges_M3


def test_fit_agrees_with_a_bordered_system():
    noisy_VD, merges_M3 = noisy_vocabulary()
    left, right, result = merges_M3.T
    weights_M = np.random.default_rng(2).uniform(0.1, 3.0, size=len(merges_M3))
    share_M1 = (weights_M / weights_M.mean())[:, None]
    x = np.hstack([noisy_VD[left], noisy_VD[right]]).astype(np.float64)
    centred = x - (share_M1 * x).mean(axis=0)
    strength = 0.1 * (share_M1 * centred**2).sum() / x.shape[1]
    x1 = np.hstack([x, np.ones((len(x), 1))])
    penalty = np.diag([strength] * x.shape[1] + [0.0])
    oracle = np.linalg.solve(x1.T @ (share_M1 * x1) + penalty, x1.T @ (share_M1 * noisy_VD[result]))
    found = fit_merges(noisy_VD, merges_M3, 0.1, weights_M)
    np.testing.assert_allclose(found.weights, oracle[:-1], atol=1e-5)
    np.testing.assert_allclose(found.intercept, oracle[-1], atol=1e-5)


def test_a_merge_of_weight_two_is_two_merges():
    noisy_VD, merges_M3 = noisy_vocabulary()
    counts_M = np.random.default_rng(3).integers(1, 4, size=len(merges_M3))
    weighted = fit_merges(noisy_VD, merges_M3, 0.1, counts_M.astype(float))
    repeated_N3 = np.repeat(merges_M3, counts_M, axis=0)
    repeated = fit_merges(noisy_VD, repeated_N3, 0.1, np.ones(len(repeated_N3)))
    np.testing.assert_allclose(weighted.weights, repeated.weights, atol=1e-5)
    np.testing.assert_allclose(weighted.intercept, repeated.intercept, atol=1e-5)


def test_plan_by_hand():
    # Old: a b c. New: a b ab c abc, with merges a+b and ab+c.
    pieces = Pieces.from_lists([[0], [1], [0, 1], [2], [0, 1, 2]])
    plan = plan_merges(3, int32([0, 1, -1, 2, -1]), int32([[0, 1, 2], [2, 3, 4]]), pieces)
    assert plan.node_of.tolist() == [0, 1, 3, 2, 4]
    assert [plan.left.tolist(), plan.right.tolist()] == [[0, 3], [1, 2]]
    assert plan.depth.tolist() == [1, 2]


def test_known_token_is_a_leaf_of_the_new_tree():
    # "ab" exists in the source as old id 3: it is taken, not composed.
    pieces = Pieces.from_lists([[0], [1], [3], [2], [3, 2]])
    plan = plan_merges(4, int32([0, 1, 3, 2, -1]), int32([[0, 1, 2], [2, 3, 4]]), pieces)
    assert plan.node_of.tolist() == [0, 1, 3, 2, 4]
    assert [plan.left.tolist(), plan.right.tolist()] == [[3], [2]]


def test_without_merges_pieces_join_from_left_to_right():
    pieces = Pieces.from_lists([[0, 1, 2], [0, 1], [], [2]])
    plan = plan_merges(3, int32([-1] * 4), np.empty((0, 3), np.int32), pieces)
    assert plan.node_of.tolist() == [4, 3, -1, 2]
    assert [plan.left.tolist(), plan.right.tolist()] == [[0, 3], [1, 2]]
    assert plan.depth.tolist() == [1, 2]


def test_compose_agrees_with_a_loop():
    source_VD, merges_M3, _, _ = linear_vocabulary()
    old, new = source_VD[:100], merges_M3[70:]
    found = fit_merges(source_VD, merges_M3, 1e-3, np.ones(len(merges_M3)))
    match = int32([*range(100), *[-1] * (len(source_VD) - 100)])
    pieces = Pieces.from_lists([[i] if i >= 0 else [0] for i in match.tolist()])
    plan = plan_merges(100, match, new, pieces)
    assert plan.depth.max() > 1
    rows = list(old)
    for left, right, _ in new:
        rows.append(found.apply(rows[left][None], rows[right][None])[0])
    np.testing.assert_allclose(compose_rows(old, found, plan), np.stack(rows[100:]), atol=1e-5)


def test_norm_factor_by_hand():
    assert norm_factor(np.array([[3, 4], [0, 1], [0, 9]], np.float32), 10.0) == 2.0
    assert norm_factor(np.empty((0, 2), np.float32), 10.0) == 1.0


@pytest.mark.parametrize("n_merges", [0, 1])
def test_source_without_merges_is_refused(n_merges: int):
    merges = np.array([[0, 1, 2]], np.int32)[:n_merges]
    with pytest.raises(NoMergesError, match="use initialiser method mean_of_pieces"):
        fit_merges(np.ones((3, 2), np.float32), merges, 0.1, np.ones(len(merges)))


def test_merges_of_equal_rows_teach_nothing():
    merges = np.array([[0, 1, 2], [1, 0, 3]], np.int32)
    with pytest.raises(NoMergesError, match="parts of all 2 merges have the same rows"):
        fit_merges(np.ones((4, 2), np.float32), merges, 0.1, np.ones(len(merges)))
