"""Rows from the old token that keeps the most similar company."""

import numpy as np
import pytest

from tasks.embedding.assignment import assign_greedily
from tasks.embedding.tokalign import TooFewPivotsError, tokalign_weights

N_SHARED, N_HIDDEN = 30, 20


def two_views() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The same 50 tokens seen from two sides: the other one turned round, scaled and shuffled.

    The first 30 new tokens are known to be shared; that the other 20 are too is to be found out.
    """
    rng = np.random.default_rng(0)
    old_VA = rng.normal(size=(N_SHARED + N_HIDDEN, 12)).astype(np.float32)
    turn_AA = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    truth_W = rng.permutation(len(old_VA)).astype(np.int32)
    new_WA = (3.0 * old_VA[truth_W] @ turn_AA).astype(np.float32)
    match_W = np.where(np.arange(len(truth_W)) < N_SHARED, truth_W, -1).astype(np.int32)
    return new_WA, old_VA, match_W, truth_W


@pytest.mark.parametrize("assignment", ["best", "one_to_one"])
def test_turned_vocabulary_is_found_again(assignment: str):
    new_WA, old_VA, match_W, truth_W = two_views()
    tokens_K = np.arange(N_SHARED, N_SHARED + N_HIDDEN)
    found = tokalign_weights(
        new_WA, old_VA, match_W, tokens_K, n_pivots=25, assignment=assignment, seed=0
    )
    assert found.ids.tolist() == truth_W[tokens_K].tolist()
    assert (found.weights == 1).all()
    assert found.lengths.tolist() == [1] * N_HIDDEN


def test_shared_token_is_nearest_to_itself():
    new_WA, old_VA, match_W, truth_W = two_views()
    found = tokalign_weights(
        new_WA, old_VA, match_W, np.arange(N_SHARED), n_pivots=25, assignment="best", seed=0
    )
    assert found.ids.tolist() == truth_W[:N_SHARED].tolist()


@pytest.mark.parametrize("assignment", ["best", "one_to_one"])
def test_block_size_changes_nothing(assignment: str):
    new_WA, old_VA, match_W, _ = two_views()
    noisy_WA = new_WA + np.random.default_rng(1).normal(size=new_WA.shape).astype(np.float32)
    whole, by_one = (
        tokalign_weights(
            noisy_WA,
            old_VA,
            match_W,
            np.arange(N_SHARED, 50),
            n_pivots=25,
            assignment=assignment,
            seed=0,
            block_bytes=size,
        )
        for size in (1 << 20, 1)
    )
    np.testing.assert_array_equal(whole.ids, by_one.ids)


@pytest.mark.parametrize("assignment", ["best", "one_to_one"])
def test_of_old_tokens_that_are_the_same_the_lower_id_comes_first(assignment: str):
    new_WA, old_VA, match_W, truth_W = two_views()
    twins_VA = np.concatenate([old_VA, old_VA])
    found = tokalign_weights(
        new_WA, twins_VA, match_W, np.array([40, 41]), n_pivots=25, assignment=assignment, seed=0
    )
    assert found.ids.tolist() == truth_W[[40, 41]].tolist()


def test_token_without_a_vector_gets_nothing_and_gives_nothing():
    new_WA, old_VA, match_W, truth_W = two_views()
    new_WA[40] = 0
    old_VA[truth_W[41]] = 0
    found = tokalign_weights(
        new_WA, old_VA, match_W, np.arange(40, 43), n_pivots=20, assignment="one_to_one", seed=0
    )
    assert not found.found[0]
    assert truth_W[41] not in found.ids
    assert truth_W[42] in found.ids


def test_too_few_pivots_are_refused():
    new_WA, old_VA, match_W, _ = two_views()
    new_WA[:6] = 0
    with pytest.raises(TooFewPivotsError, match=r"24 of 30 shared tokens .* n_pivots=25"):
        tokalign_weights(
            new_WA, old_VA, match_W, np.array([40]), n_pivots=25, assignment="best", seed=0
        )


def test_closest_pair_first_by_hand():
    # Token 1 is closer to choice 7, so token 0 goes to its second; token 2 has none left.
    candidates_KC = np.array([[7, 3], [7, 3], [7, 3]])
    closeness_KC = np.array([[0.8, 0.5], [0.9, 0.1], [0.7, 0.4]], np.float32)
    assert assign_greedily(candidates_KC, closeness_KC, 8).tolist() == [3, 7, -1]


def test_holder_is_driven_out_in_a_later_round():
    # Token 0 holds 5 at once; token 1 loses 6 to token 2, then asks for 5 and is closer.
    candidates_KC = np.array([[5, 4], [6, 5], [6, 4]])
    closeness_KC = np.array([[0.3, 0.2], [0.6, 0.5], [0.9, 0.1]], np.float32)
    assert assign_greedily(candidates_KC, closeness_KC, 7).tolist() == [4, 5, 6]


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_going_through_all_pairs(seed: int):
    rng = np.random.default_rng(seed)
    closeness_KN = rng.integers(0, 12, size=(30, 25)).astype(np.float32)
    candidates_KC = np.argsort(-closeness_KN, axis=1, kind="stable")[:, :6]
    closeness_KC = np.take_along_axis(closeness_KN, candidates_KC, axis=1)
    # Equal closeness of one token to two choices goes by the candidates' order.
    closeness_KC = closeness_KC - np.arange(6, dtype=np.float32) * np.float32(0.01)
    chosen = assign_greedily(candidates_KC, closeness_KC, 25)
    pairs = sorted((-float(closeness_KC[k, c]), k, c) for k in range(30) for c in range(6))
    expected, taken = [-1] * 30, set()
    for _, k, c in pairs:
        choice = int(candidates_KC[k, c])
        if expected[k] < 0 and choice not in taken:
            expected[k] = choice
            taken.add(choice)
    assert chosen.tolist() == expected
