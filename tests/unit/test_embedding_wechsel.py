"""Nearest tokens, vectors of tokens, and WECHSEL on top of them."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from tasks.embedding.dictionaries import DictionaryError
from tasks.embedding.fasttext_model import FastTextModel, read_fasttext_model
from tasks.embedding.nearest_tokens import (
    TooFewNeighboursError,
    VectorWidthError,
    nearest_tokens,
    softmax_weights,
)
from tasks.embedding.ofa import RankError, low_rank
from tasks.embedding.pieces import Pieces
from tasks.embedding.space_alignment import align_spaces
from tasks.embedding.token_spaces import vectors_of_tokens
from tasks.embedding.wechsel import wechsel
from tasks.embedding.word_vectors import WordVectors, WordVectorsError
from tasks.embedding.words_of_tokens import TokenMeans, cut_words, token_texts

DATA = Path(__file__).parents[1] / "data" / "embedding"


def random_vectors(n: int, width: int = 8) -> np.ndarray:
    return np.random.default_rng(n).normal(size=(n, width)).astype(np.float32)


def vectors_by_words(cuts, weights_N: np.ndarray, vectors_NS: np.ndarray, n_tokens: int):
    means = TokenMeans(n_tokens, vectors_NS.shape[1])
    means.add(cuts, weights_N, vectors_NS)
    return means.result()


def test_nearest_by_hand():
    old_VS = np.array([[2, 0], [0, 0], [0, 3], [1, 1]], np.float32)
    new_KS = np.array([[0, 5], [0, 0]], np.float32)
    nearest = nearest_tokens(new_KS, old_VS, 2)
    assert nearest.ids[0].tolist() == [2, 3]
    np.testing.assert_allclose(nearest.similarities[0], [1, 0.5**0.5], rtol=1e-6)
    weights = softmax_weights(nearest, 0.1)
    e = np.exp(10 * (0.5**0.5 - 1))
    np.testing.assert_allclose(weights.weights, [1 / (1 + e), e / (1 + e)], rtol=1e-5)
    assert weights.found.tolist() == [True, False]


def test_ties_go_to_the_lower_id():
    old_VS = np.tile(np.array([[1, 0]], np.float32), (9, 1))
    old_VS[4] = [0, 1]
    nearest = nearest_tokens(np.array([[1, 0], [0, 1]], np.float32), old_VS, 3)
    assert nearest.ids.tolist() == [[0, 1, 2], [4, 0, 1]]


def test_blocks_change_no_result():
    new_KS, old_VS = random_vectors(101), random_vectors(307)
    whole = nearest_tokens(new_KS, old_VS, 10)
    parts = nearest_tokens(new_KS, old_VS, 10, block_bytes=4 * 307 * 7)
    np.testing.assert_array_equal(whole.ids, parts.ids)
    np.testing.assert_allclose(whole.similarities, parts.similarities, atol=1e-6)


def test_nearest_agrees_with_a_sort():
    new_KS, old_VS = random_vectors(40), random_vectors(90)
    nearest = nearest_tokens(new_KS, old_VS, 6)
    for k, vector in enumerate(new_KS):
        cosines = [v @ vector / np.linalg.norm(v) / np.linalg.norm(vector) for v in old_VS]
        assert nearest.ids[k].tolist() == sorted(range(90), key=lambda i: -cosines[i])[:6]


def test_weights_are_convex():
    weights = wechsel(random_vectors(50), random_vectors(70), None, 10, 0.1)
    source_VD = random_vectors(70, 5)
    assert (weights.weights >= 0).all()
    np.testing.assert_allclose(np.add.reduceat(weights.weights, weights.offsets[:-1]), 1, rtol=1e-6)
    longest = np.linalg.norm(source_VD, axis=1).max()
    assert np.linalg.norm(weights.rows(source_VD), axis=1).max() <= longest + 1e-6


def test_token_vectors_by_hand():
    # Word 0 = tokens 1 1 2, word 1 = token 2; behind a space word 0 = token 3, word 1 = token 2.
    cuts = [Pieces.from_lists([[1, 1, 2], [2]]), Pieces.from_lists([[3], [2]])]
    vectors_NS = np.array([[1, 0], [0, 1]], np.float32)
    vectors_VS = vectors_by_words(cuts, np.array([3.0, 1.0]), vectors_NS, 5)
    expected = [[0, 0], [1, 0], [3 / 5, 2 / 5], [1, 0], [0, 0]]
    np.testing.assert_allclose(vectors_VS, expected, rtol=1e-6)


def test_words_are_cut_with_and_without_a_space():
    cuts = cut_words(["ab", "c"], lambda texts: [[len(text)] for text in texts])
    assert [cut.ids.tolist() for cut in cuts] == [[2, 1], [3, 2]]


def test_words_are_cut_capitalised_where_that_is_another_spelling():
    seen: list[str] = []

    def encode(texts) -> list[list[int]]:
        seen.extend(texts)
        return [[len(text)] if text else [] for text in texts]

    cuts = cut_words(["ab", "Cde", "7", "éa"], encode, capitalised=True)
    assert seen[8:] == ["Ab", "", "", "Éa", " Ab", "", "", " Éa"]
    assert [cut.lengths.tolist() for cut in cuts] == [[1] * 4, [1] * 4, [1, 0, 0, 1], [1, 0, 0, 1]]


def by_letters(texts) -> list[list[int]]:
    return [[ord(letter) % 50 for letter in text] for text in texts]


TOKEN_BYTES = [b"x"] * 50


def test_wechsel_and_ofa_take_words_as_their_authors_do():
    """WECHSEL as they are, weighed by their counts; OFA capitalised too, all alike."""
    words = WordVectors(("ab", "Cb", "zz"), np.array([[1, 0], [0, 1], [0, 0]], np.float32))
    a, b, capital_a, z = (ord(letter) % 50 for letter in "abAz")
    plain = vectors_of_tokens(words, "words", None, TOKEN_BYTES, by_letters)
    np.testing.assert_allclose(plain[[a, b]], [[1, 0], [2 / 3, 1 / 3]])
    assert not plain[[capital_a, z]].any()
    as_ofa = vectors_of_tokens(words, "words", None, TOKEN_BYTES, by_letters, as_ofa=True)
    np.testing.assert_allclose(as_ofa[[a, b, capital_a]], [[1, 0], [2 / 3, 1 / 3], [1, 0]])
    assert not as_ofa[z].any()


def large_model(n_words: int, width: int) -> FastTextModel:
    """Words without n-grams."""
    words = tuple(f"w{i}" for i in range(n_words))
    return FastTextModel(words, np.arange(n_words, 0, -1), random_vectors(n_words, width), 0, 0)


def test_parts_of_words_change_no_token_vector(monkeypatch: pytest.MonkeyPatch):
    model = large_model(200, 6)
    whole = vectors_of_tokens(model, "words", 150, TOKEN_BYTES, by_letters)
    weighed = vectors_by_words(
        cut_words(model.words[:150], by_letters), model.weights()[:150], model.matrix[:150], 50
    )
    np.testing.assert_array_equal(whole, weighed)
    monkeypatch.setattr("tasks.embedding.token_spaces.BLOCK_WORDS", 7)
    monkeypatch.setattr("tasks.embedding.words_of_tokens.BLOCK_WORDS", 3)
    parts = vectors_of_tokens(model, "words", 150, TOKEN_BYTES, by_letters)
    np.testing.assert_allclose(parts, whole, rtol=1e-6)


def test_only_words_that_are_asked_for_get_vectors():
    """All 60,000 would take 61 MB a side, and as much again while they are made."""
    model = large_model(60_000, 256)
    pairs = [(f"w{i}", f"W{i}") for i in range(0, 40_000, 50)]
    other = WordVectors(model.words[:30_000], random_vectors(30_000, 256))
    expected = align_spaces(model.word_vectors(50_000), other, pairs)
    assert expected.n_pairs == 600
    tracemalloc.start()
    found = align_spaces(model.leading_words(50_000), other, pairs)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    vectors_of_tokens(model, "words", None, TOKEN_BYTES, lambda texts: [[1]] * len(texts))
    peak_of_tokens = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.n_pairs == expected.n_pairs
    np.testing.assert_array_equal(found.rotation, expected.rotation)
    assert peak < 20_000_000
    assert peak_of_tokens < 50_000_000


def test_parts_of_characters_have_no_text():
    assert token_texts([b" der", b"\xc3", None, b"  ", "ß".encode()]) == ["der", "", "", "", "ß"]


def test_rotated_space_is_found():
    source_NS = random_vectors(30, 6)
    rotation, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(6, 6)))
    source = WordVectors(tuple(f"s{i}" for i in range(30)), source_NS)
    target = WordVectors(
        tuple(f"t{i}" for i in range(30)), (source_NS @ rotation).astype(np.float32)
    )
    pairs = [(f"s{i}", f"T{i}") for i in range(20)] + [("s1", "nowhere")]
    alignment = align_spaces(source, target, pairs)
    assert alignment.n_pairs == 20
    np.testing.assert_allclose(alignment.rotation, rotation, atol=1e-5)


def test_wechsel_agrees_with_the_authors_code():
    frozen = np.load(DATA / "wechsel.npz")
    spaces, tokens = {}, {}
    for side in ("source", "target"):
        spaces[side] = WordVectors(
            tuple(frozen[f"{side}_words"].tolist()), frozen[f"{side}_vectors"]
        )
        cuts = [
            Pieces(
                frozen[f"{side}_ids_{variant}"],
                np.append(0, np.cumsum(frozen[f"{side}_lengths_{variant}"])),
            )
            for variant in range(2)
        ]
        tokens[side] = vectors_by_words(
            cuts,
            frozen[f"{side}_counts"],
            frozen[f"{side}_vectors"],
            len(frozen[f"{side}_token_vectors"]),
        )
        np.testing.assert_allclose(tokens[side], frozen[f"{side}_token_vectors"], atol=1e-6)
    pairs = [(a, b) for a, b in frozen["pairs"].tolist()]
    alignment = align_spaces(spaces["source"], spaces["target"], pairs)
    weights = wechsel(tokens["target"], tokens["source"], alignment, 5, 0.1)
    # The peer's fallback is random rows, so only which tokens fall to it can be compared.
    assert np.flatnonzero(~weights.found).tolist() == sorted(frozen["not_found"].tolist())
    # Old tokens that are part of the same words have one vector; which of two that tie for the
    # last place the peer takes is chance.
    turned_VS = (tokens["source"] @ alignment.rotation).astype(np.float32)
    similarities = nearest_tokens(tokens["target"], turned_VS, 6).similarities
    compared = weights.found.copy()
    compared[compared] = similarities[compared, 4] - similarities[compared, 5] > 1e-6
    assert compared.sum() == weights.found.sum() - 3 > 70
    rows_WD = weights.rows(frozen["matrix"])
    np.testing.assert_allclose(rows_WD[compared], frozen["rows"][compared], atol=1e-5)


def test_ngram_vectors_agree_with_fasttext():
    frozen = np.load(DATA / "wechsel.npz")
    model = read_fasttext_model(DATA / "tiny_fasttext.bin")
    assert list(model.words) == frozen["fasttext_words"].tolist()
    np.testing.assert_array_equal(model.counts, frozen["fasttext_counts"])
    vectors = model.vectors(frozen["texts"].tolist())
    np.testing.assert_allclose(vectors, frozen["text_vectors"], atol=1e-6)


def test_cut_fasttext_model_is_refused(tmp_path: Path):
    path = tmp_path / "cut.bin"
    path.write_bytes((DATA / "tiny_fasttext.bin").read_bytes()[:4000])
    with pytest.raises(WordVectorsError, match=r"cut\.bin cannot be read .*fetch it again"):
        read_fasttext_model(path)
    path.write_bytes(b"5 2\n" + bytes(200))
    with pytest.raises(WordVectorsError, match="no fastText model of version 12"):
        read_fasttext_model(path)


def test_full_rank_changes_nothing_and_a_lower_one_is_the_best():
    source_VD = random_vectors(60, 7)
    full = low_rank(source_VD, 7)
    np.testing.assert_allclose(full.rows, source_VD, atol=1e-5)
    assert full.share_kept == pytest.approx(1.0)
    u, s, vt = np.linalg.svd(source_VD, full_matrices=False)
    part = low_rank(source_VD, 3)
    np.testing.assert_allclose(part.rows, (u[:, :3] * s[:3]) @ vt[:3], atol=1e-5)
    assert part.share_kept == pytest.approx((s[:3] ** 2).sum() / (s**2).sum(), rel=1e-5)
    with pytest.raises(RankError, match="width 7 have no 8 dimensions"):
        low_rank(source_VD, 8)


def test_bad_vectors_are_refused():
    with pytest.raises(VectorWidthError, match=r"8 dimensions and .* 6"):
        nearest_tokens(random_vectors(3), random_vectors(9, 6), 2)
    sparse_VS = np.zeros((9, 8), np.float32)
    sparse_VS[:2] = 1
    with pytest.raises(TooFewNeighboursError, match=r"2 of 9 old tokens .* 3 neighbours"):
        nearest_tokens(random_vectors(3), sparse_VS, 3)


def test_dictionary_of_other_languages_is_refused():
    words = WordVectors(("ab", "cd"), random_vectors(2))
    with pytest.raises(DictionaryError, match="none of 1 word pairs"):
        align_spaces(words, words, [("x", "y")])
    with pytest.raises(VectorWidthError, match="8 dimensions and target words of 6"):
        align_spaces(words, WordVectors(("ab",), random_vectors(1, 6)), [("ab", "ab")])
