"""Rows as sparse means of the rows of shared tokens that are used alike."""

from pathlib import Path

import numpy as np
import pytest

from tasks.embedding.focus import NoSharedTokensError, focus_weights
from tasks.embedding.sparsemax import N_CANDIDATES, sparsemax
from tasks.embedding.token_vectors import (
    MissingFastTextError,
    TooLittleTextError,
    train_token_vectors,
)
from tasks.shared.vocabulary import match_ids, read_vocabulary

FROZEN = Path(__file__).parents[1] / "data" / "embedding" / "deepfocus.npz"
SETTINGS = {
    "dimensions": 10,
    "epochs": 10,
    "window_tokens": 5,
    "min_count": 3,
    "n_negatives": 5,
    "max_ngram_bytes": 6,
    "n_buckets": 1000,
}


def dense(ids: np.ndarray, weights: np.ndarray, n: int) -> np.ndarray:
    table = np.zeros((len(ids), n))
    np.put_along_axis(table, ids.astype(np.int64), weights, axis=1)
    return table


def nearest_in_simplex(scores: list[float]) -> list[float]:
    """Find the threshold by bisection: the weights fall as it rises, and must sum to 1."""
    low, high = min(scores) - 1, max(scores)
    for _ in range(200):
        middle = (low + high) / 2
        total = sum(max(s - middle, 0.0) for s in scores)
        low, high = (middle, high) if total > 1 else (low, middle)
    return [max(s - low, 0.0) for s in scores]


def test_sparsemax_by_hand():
    # 0.9 and 0.5 share: the threshold is (1.4 - 1) / 2 = 0.2, and 0.1 is below it.
    columns_BC, weights_BC = sparsemax(np.array([[0.1, 0.5, 0.9]], np.float32))
    assert columns_BC.tolist() == [[2, 1]]
    np.testing.assert_allclose(weights_BC, [[0.7, 0.3]], atol=1e-7)


@pytest.mark.parametrize("spread", [0.001, 0.1, 1.0, 30.0])
def test_sparsemax_agrees_with_bisection(spread: float):
    """Over narrow scores nearly all of them get weight, more than are looked at first."""
    scores_BA = np.random.default_rng(0).normal(scale=spread, size=(5, 300)).astype(np.float32)
    columns_BC, weights_BC = sparsemax(scores_BA)
    expected = [nearest_in_simplex(row) for row in scores_BA.astype(float).tolist()]
    np.testing.assert_allclose(dense(columns_BC, weights_BC, 300), expected, atol=1e-6)
    assert spread > 0.001 or columns_BC.shape[1] > N_CANDIDATES


def test_agrees_with_the_authors_code():
    with np.load(FROZEN, allow_pickle=False) as frozen:
        match_W = np.append(np.arange(90), np.full(40, -1)).astype(np.int32)
        weights = focus_weights(frozen["vectors_WA"], match_W, np.arange(90, 130))
        np.testing.assert_allclose(weights.rows(frozen["shared_VD"]), frozen["made_KD"], atol=2e-6)
    sums_K = np.add.reduceat(weights.weights, weights.offsets[:-1])
    np.testing.assert_allclose(sums_K, 1.0, atol=1e-6)
    assert (weights.weights > 0).all()
    assert 1 < weights.lengths.mean() < 45


def test_agrees_with_the_authors_whole_way_from_two_tokenizers(tmp_path: Path):
    """Which tokens are the same, and rows of the others; without a vector, theirs is drawn."""
    with np.load(FROZEN, allow_pickle=False) as frozen:
        vocabularies = []
        for side in ("source", "target"):
            (tmp_path / side).mkdir()
            (tmp_path / side / "tokenizer.json").write_text(str(frozen[f"{side}_tokenizer"]))
            vocabularies.append(read_vocabulary(tmp_path / side))
        vectors_WA, rows_VD = frozen["token_vectors_WA"], frozen["source_VD"]
        theirs_WD = frozen["target_WD"]
    match_W = match_ids(*vocabularies)
    shared, new = np.flatnonzero(match_W >= 0), np.flatnonzero(match_W < 0)
    assert min(len(shared), len(new)) > 100
    np.testing.assert_array_equal(rows_VD[match_W[shared]], theirs_WD[shared])
    assert not (theirs_WD[new, None] == rows_VD).all(axis=2).any(), "they copied another row too"

    weights = focus_weights(vectors_WA, match_W, new)
    assert weights.found.tolist() == (vectors_WA[new] != 0).any(axis=1).tolist()
    assert 50 < weights.found.sum() < len(new)
    made_KD, theirs_KD = weights.rows(rows_VD), theirs_WD[new]
    np.testing.assert_allclose(made_KD[weights.found], theirs_KD[weights.found], atol=2e-6)
    assert weights.lengths[weights.found].max() > 1


def test_block_size_changes_nothing():
    rng = np.random.default_rng(1)
    vectors_WA = rng.normal(size=(60, 8)).astype(np.float32)
    match_W = np.append(rng.permutation(40), np.full(20, -1)).astype(np.int32)
    tokens_K = np.arange(40, 60)
    whole, by_one = (focus_weights(vectors_WA, match_W, tokens_K, size) for size in (1 << 20, 1))
    np.testing.assert_array_equal(whole.ids, by_one.ids)
    np.testing.assert_array_equal(whole.offsets, by_one.offsets)
    np.testing.assert_allclose(whole.weights, by_one.weights, atol=1e-6)


def test_token_used_like_a_shared_one_takes_its_row():
    """Cosine 1 to one token and 0 to the others leaves all weight on the one."""
    vectors_WA = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 3, 0]], np.float32)
    weights = focus_weights(vectors_WA, np.array([5, 7, 6, -1], np.int32), np.array([3]))
    assert weights.ids.tolist() == [7]
    assert weights.weights.tolist() == [1.0]


def test_token_without_a_vector_gets_nothing():
    vectors_WA = np.array([[1, 0], [0, 0], [1, 1]], np.float32)
    weights = focus_weights(vectors_WA, np.array([0, -1, -1], np.int32), np.array([1, 2]))
    assert weights.found.tolist() == [False, True]


def test_no_shared_token_with_a_vector_is_refused():
    vectors_WA = np.array([[0, 0], [1, 1]], np.float32)
    with pytest.raises(NoSharedTokensError, match="of 1 tokens that both vocabularies have"):
        focus_weights(vectors_WA, np.array([0, -1], np.int32), np.array([1]))


def paired_documents() -> list[np.ndarray]:
    """Tokens 0, 1, 4, 5 stand in one kind of text, 2, 3, 6, 7 in another; 8 is rare."""
    rng = np.random.default_rng(0)
    topics = [np.array([0, 1, 4, 5]), np.array([2, 3, 6, 7])]
    return [rng.choice(topics[i % 2], size=18) for i in range(600)] + [np.array([8, 8])]


def test_vectors_are_the_same_twice_and_tell_company():
    pytest.importorskip("fasttext")
    token_bytes = [b"a\n", b" \xff", b"q", b"\xc3", b"x", b"y", b" z", b"w", b"rare", None, b"</s>"]
    once, again = (train_token_vectors(paired_documents(), token_bytes, **SETTINGS) for _ in "12")
    np.testing.assert_array_equal(once, again)
    norms_W = np.linalg.norm(once, axis=1)
    assert (norms_W[:8] > 0).all()
    assert (norms_W[8:] == 0).all(), "too rare, special, or never seen"
    unit = once[:8] / norms_W[:8, None]
    cosines = unit @ unit.T
    assert cosines[4, [0, 1, 5]].min() > cosines[4, [2, 3, 6, 7]].max()


def test_too_little_text_is_refused():
    pytest.importorskip("fasttext")
    with pytest.raises(TooLittleTextError, match="4 tokens occurs 2 times, and a vector needs 3"):
        train_token_vectors([np.array([0, 0, 1]), np.array([2, 1])], [b"a", b"b", None], **SETTINGS)


def test_missing_library_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "fasttext", None)
    with pytest.raises(MissingFastTextError, match=r"pip install tokgraft\[vectors\]"):
        train_token_vectors([np.array([0])], [b"a"], **SETTINGS)
