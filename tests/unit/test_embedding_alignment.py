"""Word alignment, the units it aligns, and rows by translation."""

import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from tasks.embedding.alignment_units import token_units, word_units
from tasks.embedding.parallel_text import iter_sentence_pairs
from tasks.embedding.pieces import Pieces
from tasks.embedding.trans_tokenizer import token_counts, translation_weights
from tasks.embedding.word_alignment import Links, ParallelTextError, align

DATA = Path(__file__).parents[1] / "data" / "embedding"
Sentences = list[list[int]]


def random_text(n_sentences: int = 80) -> tuple[Sentences, Sentences]:
    """A unit translates itself, most of the time, in the same order; 12 and 13 translate none."""
    rng = np.random.default_rng(0)
    source = [rng.integers(0, 12, rng.integers(2, 8)).tolist() for _ in range(n_sentences)]
    target = [[x for x in words if rng.random() < 0.9] or [12] for words in source]
    for words in target:
        if rng.random() < 0.4:
            words.insert(int(rng.integers(0, len(words) + 1)), 13)
    return source, target


def slow_counts(
    source: Sentences, target: Sentences, n_iterations: int, tension: float, null: float
) -> tuple[dict[tuple[int, int], float], list[float]]:
    """The model of Dyer et al. (2013), equations 1 to 3, in dictionaries; -1 is null."""
    probability: dict[tuple[int, int], float] = defaultdict(lambda: 1 / 14)
    logs = []
    counts: dict[tuple[int, int], float] = {}
    for _ in range(n_iterations):
        counts, totals, log = defaultdict(float), defaultdict(float), 0.0
        for s, t in zip(source, target, strict=True):
            for j, f in enumerate(t, 1):
                near = [
                    math.exp(-tension * abs(i / len(s) - j / len(t))) for i in range(1, len(s) + 1)
                ]
                prior = [(1 - null) * x / sum(near) for x in near]
                joint = [a * probability[f, e] for a, e in zip(prior, s, strict=True)]
                joint.append(null * probability[f, -1])
                log += math.log(sum(joint))
                for e, share in zip([*s, -1], joint, strict=True):
                    counts[f, e] += share / sum(joint)
                    totals[e] += share / sum(joint)
        probability = {(f, e): count / totals[e] for (f, e), count in counts.items()}
        logs.append(log)
    return {pair: count for pair, count in counts.items() if pair[1] >= 0}, logs


def run_align(
    source: Sentences, target: Sentences, n_iterations: int = 5, tension: float = 4.0
) -> Links:
    pieces = Pieces.from_lists(source), Pieces.from_lists(target)
    return align(*pieces, 14, 14, n_iterations, tension, 0.08, 10_000)


@pytest.mark.parametrize("tension", [0.0, 4.0])
def test_agrees_with_the_model_in_dictionaries(tension: float):
    source, target = random_text()
    links = run_align(source, target, tension=tension)
    expected, logs = slow_counts(source, target, 5, tension, 0.08)
    found = {
        (int(t), int(s)): float(c)
        for t, s, c in zip(links.targets, links.sources, links.counts, strict=True)
    }
    assert found.keys() == expected.keys()
    assert all(found[pair] == pytest.approx(expected[pair], abs=1e-9) for pair in expected)
    assert links.log_likelihoods == pytest.approx(logs)


def test_agrees_with_fast_align():
    frozen = np.load(DATA / "alignment.npz")
    source, target = (
        Pieces(frozen[side], np.append(0, np.cumsum(frozen[f"{side}_lengths"])))
        for side in ("source", "target")
    )
    # The peer's last round of five only links, so that its table is that of four.
    links = align(source, target, 14, 14, 4, 4.0, 0.08, 10_000)
    counts_ST, expected_ST = np.zeros((14, 14)), np.zeros((14, 14))
    counts_ST[links.sources, links.targets] = links.counts
    found = frozen["probabilities"][frozen["probabilities"][:, 0] >= 0]
    expected_ST[found[:, 0].astype(int), found[:, 1].astype(int)] = found[:, 2]
    totals_S = counts_ST.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(counts_ST / np.maximum(totals_S, 1e-9), expected_ST, atol=1e-6)


def test_one_round_by_hand():
    # Two source words, one target word, no tension, no null: half a link each.
    links = align(Pieces.from_lists([[0, 1]]), Pieces.from_lists([[0]]), 2, 1, 1, 0.0, 0.0, 100)
    assert [links.sources.tolist(), links.counts.tolist()] == [[0, 1], [0.5, 0.5]]
    # With tension 2 the second, at the same end, is exp(1) times as likely.
    links = align(Pieces.from_lists([[0, 1]]), Pieces.from_lists([[0]]), 2, 1, 1, 2.0, 0.0, 100)
    np.testing.assert_allclose(links.counts, [1 / (1 + math.e), math.e / (1 + math.e)])


def test_translations_are_found_and_likelihood_rises():
    links = run_align(*random_text(), n_iterations=7)
    counts_TS = np.zeros((14, 14))
    counts_TS[links.targets, links.sources] = links.counts
    assert counts_TS[:12].argmax(axis=1).tolist() == list(range(12))
    assert (np.diff(links.log_likelihoods) >= -1e-9).all()


def test_blocks_and_cache_change_no_bit(monkeypatch: pytest.MonkeyPatch):
    source, target = random_text()
    whole = run_align(source, target)
    monkeypatch.setattr("tasks.embedding.word_alignment.BLOCK_PAIRS", 50)
    monkeypatch.setattr("tasks.embedding.word_alignment.CACHED_PLACES", 70)
    parts = run_align(source, target)
    assert whole.counts.tobytes() == parts.counts.tobytes()


def test_empty_sentence_links_nothing():
    source, target = random_text()
    plain = run_align(source, target)
    more = run_align([[], *source, [3]], [[5, 6], *target, []])
    np.testing.assert_allclose(more.counts, plain.counts, atol=1e-9)


def test_words_are_joined_by_letters():
    token_bytes = [b"Ha", b"us", b" ", b"!", b" das", b"\xc3", b"\xbc", None]
    sentences = Pieces.from_lists([[0, 1, 4, 1, 3], [], [0, 1, 3, 0, 5, 6, 7, 1]])
    units = word_units(sentences, token_bytes)
    words = [tuple(units.tokens.of(unit)) for unit in range(len(units.tokens))]
    spelt = [[words[unit] for unit in units.sentences.of(s)] for s in range(3)]
    assert spelt == [
        [(0, 1), (4, 1), (3,)],
        [],
        [(0, 1), (3,), (0, 5, 6), (7,), (1,)],
    ]
    assert len(set(words)) == len(words) == 6


def test_tokens_are_units_of_their_own():
    units = token_units(Pieces.from_lists([[2, 0]]), 3)
    assert [units.tokens.of(2), units.sentences.of(0)] == [[2], [2, 0]]


def links_of(*links: tuple[int, int, float]) -> Links:
    targets, sources, counts = zip(*links, strict=True)
    return Links(
        np.array(targets, np.int32), np.array(sources, np.int32), np.array(counts, float), ()
    )


def test_counts_are_shared_by_hand():
    # New word (0, 1) is linked 12 times to old word (5, 6, 7): each new token gets 12, half of it
    # by thirds, half by place: token 0 covers old 5 and half of old 6.
    old, new = Pieces.from_lists([[5, 6, 7], [4]]), Pieces.from_lists([[0, 1], [2]])
    counts_WV = token_counts(links_of((0, 0, 12), (1, 1, 9)), old, new, 10.0, 8, 3).toarray()
    expected_WV = np.zeros((3, 8))
    expected_WV[0, 5:] = [2 + 4, 2 + 2, 2]
    expected_WV[1, 5:] = [2, 2 + 2, 2 + 4]
    np.testing.assert_allclose(counts_WV, expected_WV, atol=1e-12)


def test_unseen_tokens_take_their_relatives():
    token_bytes = [b"ab", b"abc", b"abd", b"b", b"xaby", b"zz", None]
    old, new = Pieces.from_lists([[0], [1], [2]]), Pieces.from_lists([[1], [2], [3], [0]])
    # abc -> old 0; abd -> old 0 and 1; b -> old 2.
    links = links_of((0, 0, 20), (1, 0, 30), (1, 1, 10), (2, 2, 5))
    counts_WV = token_counts(links, old, new, 1.0, 3, 7)
    needed_K = np.array([0, 1, 4, 5, 6])
    weights = translation_weights(counts_WV, needed_K, token_bytes, smooth_unseen=True)
    dense_KV = weights.rows(np.eye(3, dtype=np.float32))
    # ab begins abc and abd and holds b; xaby holds b alone.
    np.testing.assert_allclose(dense_KV[0], [(1 + 0.75) / 3, 0.25 / 3, 1 / 3], rtol=1e-6)
    np.testing.assert_allclose(dense_KV[1:3], [[1, 0, 0], [0, 0, 1]])
    assert weights.found.tolist() == [True, True, True, False, False]
    plain = translation_weights(counts_WV, needed_K, token_bytes, smooth_unseen=False)
    assert plain.found.tolist() == [False, True, False, False, False]


def test_longest_relatives_within():
    token_bytes = [b"haus", b"aus", b"s", b"tuer", b"haustuer"]
    counts_WV = token_counts(
        links_of((0, 0, 1), (1, 1, 1), (2, 2, 1), (3, 3, 1)),
        *(Pieces.from_lists([[0], [1], [2], [3]]),) * 2,
        1.0,
        4,
        5,
    )
    weights = translation_weights(counts_WV, np.array([4]), token_bytes, smooth_unseen=True)
    assert [weights.ids.tolist(), weights.weights.tolist()] == [[0, 3], [0.5, 0.5]]


def test_text_that_does_not_pair_is_refused():
    pieces = Pieces.from_lists([[0]])
    with pytest.raises(ParallelTextError, match="1 source and 2 target sentences"):
        align(pieces, Pieces.from_lists([[0], [0]]), 1, 1, 1, 4.0, 0.1, 10)
    with pytest.raises(ParallelTextError, match=r"1 of 1 .* 6 distinct .* max_pairs \(5\)"):
        align(Pieces.from_lists([[0, 1]]), Pieces.from_lists([[0, 1]]), 2, 2, 1, 4.0, 0.1, 5)


def test_sentence_pairs_from_files(tmp_path: Path):
    source, target = tmp_path / "en", tmp_path / "de"
    source.write_text("one\n\ntwo\nthree\n")
    target.write_text("eins\nzwei\n \ndrei\n")
    batches = list(iter_sentence_pairs(source, target, batch_lines=3))
    assert batches == [(["one"], ["eins"]), (["three"], ["drei"])]
    target.write_text("eins\nzwei\n")
    with pytest.raises(ParallelTextError, match=r"the shorter has 2\)"):
        list(iter_sentence_pairs(source, target))
    with pytest.raises(ParallelTextError, match="cannot be read"):
        list(iter_sentence_pairs(source, tmp_path / "none"))
