"""TokenAdapt: pieces by meaning and length, mixed with old tokens of like meaning."""

import numpy as np

from tasks.embedding.pieces import Pieces
from tasks.embedding.tokenadapt import tokenadapt


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max())
    return powers / powers.sum()


def random_case() -> tuple[np.ndarray, np.ndarray, Pieces, np.ndarray]:
    rng = np.random.default_rng(0)
    new_KS = rng.normal(size=(40, 6)).astype(np.float32)
    old_VS = rng.normal(size=(90, 6)).astype(np.float32)
    pieces = Pieces.from_lists([rng.integers(0, 90, rng.integers(1, 6)).tolist() for _ in new_KS])
    return new_KS, old_VS, pieces, rng.integers(1, 8, 90)


def slow(
    new_S: np.ndarray, old_VS: np.ndarray, ids: list[int], old_bytes_V: np.ndarray
) -> np.ndarray:
    """The paper's steps for one token, as a dense row over the old vocabulary."""
    unit_VS = old_VS / np.linalg.norm(old_VS, axis=1, keepdims=True)
    cosines_V = unit_VS @ new_S / np.linalg.norm(new_S)
    lengths = old_bytes_V[ids]
    score = (softmax(cosines_V[ids]) + lengths / lengths.sum()) / 2
    local_V, global_V = np.zeros(len(old_VS)), np.zeros(len(old_VS))
    np.add.at(local_V, ids, softmax(score / 0.3))
    best = [i for i in np.argsort(-cosines_V)[:3] if cosines_V[i] > 0]
    global_V[best] = softmax(cosines_V[best] / 0.3)
    return 0.7 * local_V + 0.3 * global_V


def test_agrees_with_the_steps_one_by_one():
    new_KS, old_VS, pieces, old_bytes_V = random_case()
    weights = tokenadapt(new_KS, old_VS, pieces, old_bytes_V, 3, 0.3, 0.3)
    dense_KV = weights.rows(np.eye(90, dtype=np.float32))
    for k, new_S in enumerate(new_KS):
        expected_V = slow(new_S, old_VS, pieces.of(k), old_bytes_V)
        np.testing.assert_allclose(dense_KV[k], expected_V, atol=1e-6)


def test_by_hand_without_likeness():
    # The token is at right angles to both pieces, so only length counts: 3 and 1 bytes.
    new_KS = np.array([[0, 0, 1]], np.float32)
    old_VS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 2]], np.float32)
    lengths_V = np.array([3, 1, 9])
    weights = tokenadapt(new_KS, old_VS, Pieces.from_lists([[0, 1]]), lengths_V, 3, 0.25, 0.5)
    local = softmax(np.array([(0.5 + 0.75) / 2, (0.5 + 0.25) / 2]) / 0.5)
    assert weights.ids.tolist() == [0, 1, 2]
    np.testing.assert_allclose(weights.weights, [*(0.75 * local), 0.25], rtol=1e-6)


def test_weights_are_convex_and_blocks_change_nothing():
    case = random_case()
    weights = tokenadapt(*case, 3, 0.3, 0.3)
    assert (weights.weights > 0).all()
    np.testing.assert_allclose(np.add.reduceat(weights.weights, weights.offsets[:-1]), 1, rtol=1e-6)
    parts = tokenadapt(*case, 3, 0.3, 0.3, block_bytes=4 * 90 * 3)
    np.testing.assert_array_equal(parts.ids, weights.ids)
    np.testing.assert_allclose(parts.weights, weights.weights, atol=1e-6)


def test_one_part_stands_in_for_the_other():
    old_VS = np.array([[1, 0], [0, 1], [0, 0]], np.float32)
    new_KS = np.array([[3, 1], [-1, -1], [0, 0]], np.float32)
    pieces = Pieces.from_lists([[], [1, 1], [0]])
    weights = tokenadapt(new_KS, old_VS, pieces, np.array([1, 1, 1]), 1, 0.3, 0.3)
    # Without pieces all global; like no old token all local; without a text nothing.
    assert [weights.ids.tolist(), weights.weights.tolist()] == [[0, 1], [1, 1]]
    assert weights.found.tolist() == [True, True, False]
