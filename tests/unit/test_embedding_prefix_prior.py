"""The prior of a token given its first old piece."""

import math

import numpy as np
import pytest

from tasks.embedding.prefix_prior import CountsError, counts_by_id, prefix_prior


def prior_of(first: list[int], counts: list[int]) -> np.ndarray:
    return prefix_prior(np.array(first, np.int32), np.array(counts, np.int64), 0.5, 0.05)


def test_prior_by_hand():
    # Tokens 0 and 2 start with old piece 0, seen 7 and 1 times: masses 7.5 and 1.5.
    # Token 1 is alone; token 3 stands outside all groups; token 4 joins piece 0 unseen: 0.05.
    prior_W = prior_of([0, 1, 0, -1, 0], [7, 3, 1, 9, 0])
    total = 7.5 + 1.5 + 0.05
    expected = [math.log(7.5 / total), 0.0, math.log(1.5 / total), 0.0, math.log(0.05 / total)]
    np.testing.assert_allclose(prior_W, expected, atol=1e-15)


def test_each_group_sums_to_one():
    rng = np.random.default_rng(0)
    first_W = rng.integers(-1, 30, size=500).astype(np.int32)
    prior_W = prefix_prior(first_W, rng.poisson(1.0, size=500).astype(np.int64), 0.5, 0.05)
    for piece in np.unique(first_W[first_W >= 0]):
        assert np.exp(prior_W[first_W == piece]).sum() == pytest.approx(1.0, abs=1e-12)
    assert (prior_W[first_W < 0] == 0).all()


def test_same_vocabulary_has_no_prior():
    assert (prior_of([0, 1, 2], [5, 0, 1]) == 0).all()


def test_agrees_with_a_loop():
    rng = np.random.default_rng(1)
    first = rng.integers(0, 5, size=40).tolist()
    counts = rng.poisson(2.0, size=40).tolist()
    mass = [c + 0.5 if c else 0.05 for c in counts]
    for token, prior in enumerate(prior_of(first, counts)):
        total = sum(m for m, p in zip(mass, first, strict=True) if p == first[token])
        assert prior == pytest.approx(math.log(mass[token] / total))


def test_counts_follow_ids():
    ids, counts = np.array([2, 0, 1]), np.array([7, 5, 6])
    assert counts_by_id(ids, counts, 3).tolist() == [5, 6, 7]


@pytest.mark.parametrize(("ids", "n_tokens"), [([0, 1], 3), ([0, 1, 1], 3), ([0, 1, 3], 3)])
def test_counts_of_another_vocabulary_are_refused(ids: list[int], n_tokens: int):
    with pytest.raises(CountsError, match=rf"tokenizer has {n_tokens} tokens"):
        counts_by_id(np.array(ids), np.zeros(len(ids), np.int64), n_tokens)


def test_negative_count_is_refused():
    with pytest.raises(CountsError, match="token 1 has count -4"):
        prior_of([0, 0], [1, -4])
