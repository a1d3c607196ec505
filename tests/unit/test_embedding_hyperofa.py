"""Rows learnt from the vectors of words that hold a token."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tasks.embedding.hyperofa import (
    HyperOfaSettings,
    TooFewWordsError,
    WordNetworkDivergedError,
    hyperofa,
    row_loss,
)
from tasks.embedding.ofa import low_rank
from tasks.embedding.pieces import Pieces
from tasks.embedding.word_set_network import WordSetNetwork
from tasks.embedding.word_sets import WordSets
from tasks.embedding.words_of_tokens import TokenMeans, words_by_token

SETTINGS = HyperOfaSettings(
    hidden=24,
    dropout=0.0,
    max_words=6,
    n_epochs=60,
    batch_tokens=32,
    lr=1e-2,
    contrastive_weight=0.1,
    temperature=0.25,
    seed=0,
)
N_WORDS, WIDTH, N_OLD = 60, 5, 120


def word_sets(n_tokens: int, seed: int) -> WordSets:
    vectors_NS = np.random.default_rng(0).normal(size=(N_WORDS, WIDTH)).astype(np.float32)
    rng = np.random.default_rng(seed)
    lists = [np.sort(rng.choice(N_WORDS, n, replace=False)).tolist() for n in
             rng.integers(1, 5, n_tokens)]  # fmt: skip
    return WordSets(vectors_NS, Pieces.from_lists([[], *lists[1:]]))


def linear_rows(sets: WordSets) -> np.ndarray:
    """Rows that are a linear map of the mean of the words' vectors; the first token has none."""
    means = np.stack(
        [sets.vectors[sets.words.of(t)].mean(axis=0) for t in range(1, len(sets.words))]
    )
    map_SY = np.random.default_rng(1).normal(size=(WIDTH, 8))
    return np.concatenate([np.zeros((1, 8)), 0.03 * means @ map_SY]).astype(np.float32)


def test_words_of_a_token_by_hand():
    # Words 0 and 1; token 3 is in both, twice in word 1; token 4 only behind a space.
    cuts = [Pieces.from_lists([[3, 1], [3, 3]]), Pieces.from_lists([[3], [4]])]
    found = words_by_token(cuts, 6)
    assert found.lists() == [[], [0], [], [0, 1], [1], []]
    vectors = np.array([[1, 0], [0, 1]], np.float32)
    of_tokens = TokenMeans(6, vectors.shape[1])
    of_tokens.add(cuts, np.ones(2), vectors)
    means = of_tokens.result()
    np.testing.assert_allclose(means[1], [1, 0])


def test_primitives_and_coordinates_make_the_reduced_rows():
    rows_VD = np.random.default_rng(0).normal(size=(30, 7)).astype(np.float32)
    made = low_rank(rows_VD, 3)
    np.testing.assert_allclose(made.coordinates @ made.primitives, made.rows, atol=1e-5)
    left_VR, values, _ = np.linalg.svd(rows_VD, full_matrices=False)
    np.testing.assert_allclose(np.linalg.norm(made.primitives, axis=1), values[2::-1], rtol=1e-4)
    np.testing.assert_allclose(
        np.abs(made.coordinates), np.abs(left_VR[:, 2::-1]), rtol=1e-2, atol=1e-4
    )
    single = low_rank(np.outer(np.ones(4), [1, 2, 3]).astype(np.float32), 2)
    assert np.isfinite(single.coordinates).all()


def test_loss_by_hand():
    true_BY = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    made_BY = torch.tensor([[3.0, 0.0], [0.0, 3.0]])
    # Distance 0.5 over a mean size of 1; cosines are 1 with one's own row and 0 with the other.
    assert row_loss(made_BY, true_BY, 0.0, 1.0).item() == pytest.approx(0.5)
    contrast = float(np.log(1 + np.exp(-1 / 0.25)))
    assert row_loss(made_BY, true_BY, 1.0, 0.25).item() == pytest.approx(contrast, rel=1e-4)
    mixed = 0.1 * contrast + 0.9 * 0.5
    assert row_loss(made_BY, true_BY, 0.1, 0.25).item() == pytest.approx(mixed, rel=1e-4)


def test_padding_is_not_read():
    torch.manual_seed(0)
    network = WordSetNetwork(WIDTH, 4, 3, 0.5).eval()
    words_NTS, n_words = torch.randn(2, 5, WIDTH), torch.tensor([5, 2])
    made = network(words_NTS, n_words)
    alone = network(words_NTS[1:, :2], torch.tensor([2]))
    torch.testing.assert_close(made[1:], alone)


def test_words_are_thinned_out_and_cut_off():
    sets = WordSets(np.eye(20, WIDTH, dtype=np.float32), Pieces.from_lists([list(range(20)), [7]]))
    tokens, rng = np.array([0, 1]), np.random.default_rng(0)
    _, all_of_them = sets.read(tokens, 12, None)
    assert all_of_them.tolist() == [12, 1]
    numbers = {int(sets.read(tokens, 12, rng)[1][0]) for _ in range(200)}
    assert numbers == set(range(6, 13))
    vectors, lengths = sets.read(np.array([1, 0]), 2, rng)
    assert lengths.tolist() == [1, 2]
    np.testing.assert_array_equal(vectors, [[sets.vectors[7], [0] * WIDTH], sets.vectors[:2]])


def test_a_linear_map_of_word_vectors_is_learnt():
    old, new = word_sets(N_OLD, 2), word_sets(20, 3)
    said: list[tuple[int, float]] = []
    made, losses = hyperofa(
        old, new, linear_rows(old), SETTINGS, progress=lambda done, loss: said.append((done, loss))
    )
    assert losses[-4:].mean() < 0.5 * losses[:4].mean()
    assert [done for done, _ in said] == list(range(1, 61))
    assert not made[0].any()
    assert np.abs(made[1:]).max(axis=1).min() > 0
    wanted = linear_rows(new)[1:]
    error = np.abs(made[1:] - wanted).mean()
    assert error < 0.6 * np.abs(wanted - linear_rows(old)[1:].mean(axis=0)).mean()


def test_same_seed_same_rows_and_no_trace_in_torch():
    old, new = word_sets(N_OLD, 2), word_sets(20, 3)
    few = replace(SETTINGS, n_epochs=2, dropout=0.3)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    once, _ = hyperofa(old, new, linear_rows(old), few)
    assert torch.equal(torch.rand(3), expected)
    again, _ = hyperofa(old, new, linear_rows(old), few)
    np.testing.assert_array_equal(once, again)
    other, _ = hyperofa(old, new, linear_rows(old), replace(few, seed=1))
    assert (once[1:] != other[1:]).all()


def test_what_cannot_be_learnt_is_refused():
    old, new = word_sets(N_OLD, 2), word_sets(20, 3)
    nothing = WordSets(old.vectors, Pieces.from_lists([[]] * N_OLD))
    with pytest.raises(TooFewWordsError, match="0 of 120 old tokens are part of one of the 60"):
        hyperofa(nothing, new, linear_rows(old), SETTINGS)
    with pytest.raises(WordNetworkDivergedError, match="in epoch"):
        hyperofa(old, new, linear_rows(old), replace(SETTINGS, lr=1e36))
