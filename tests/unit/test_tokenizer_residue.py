"""Final and intermediate tokens of BPE, and token counts under every prefix of its merges."""

import random
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from tasks.shared.vocabulary import Vocabulary, read_vocabulary
from tasks.tokenizer.residue import (
    WordsError,
    final_and_made,
    final_ratios,
    ids_of_bytes,
    prefix_token_counts,
)

Merges = list[tuple[int, int, int]]
A, B, C, AB, ABC, AA = range(6)
MERGES: Merges = [(A, B, AB), (AB, C, ABC), (A, A, AA)]


def flat(words: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    ids = np.array([i for word in words for i in word], dtype=np.int32)
    starts = np.concatenate([[0], np.cumsum([len(word) for word in words])]).astype(np.int64)
    return ids, starts


def count(words: list[list[int]], counts: list[int], merges: Merges, n_ids: int):
    merges_M3 = np.array(merges, dtype=np.int32).reshape(-1, 3)
    return final_and_made(*flat(words), np.array(counts, dtype=np.int64), merges_M3, n_ids)


def naive(words: list[list[int]], counts: list[int], merges: Merges):
    """Merge the pair of lowest rank, leftmost first, one at a time."""
    ranks = range(len(merges) - 1, -1, -1)
    rank_of = {merges[rank][:2]: rank for rank in ranks}
    final, made = Counter[int](), Counter[int]()
    for word, n in zip(words, counts, strict=True):
        symbols = list(word)
        made.update({i: n * k for i, k in Counter(symbols).items()})
        while found := [(rank_of[p], i) for i, p in enumerate(pairwise(symbols)) if p in rank_of]:
            rank, i = min(found)
            symbols[i : i + 2] = [merges[rank][2]]
            made[merges[rank][2]] += n
        final.update({i: n * k for i, k in Counter(symbols).items()})
    return final, made


def random_merges(draw: random.Random) -> Merges:
    """Merges in any order over 4 base ids, some pairs twice, some results twice.

    A result is a longer token, so that merging ends.
    """
    merges: Merges = []
    for result in range(4, 40):
        merges.append((draw.randrange(result), draw.randrange(result), result))
        left, right, _ = draw.choice(merges)
        merges.append((left, right, result))
    return draw.sample(merges, 50)


def test_words_merged_by_hand():
    # 3 x abc -> ab c -> abc;  2 x aaab -> aa ab, for ab goes first and leaves a pair of a's.
    final, made = count([[A, B, C], [A, A, A, B]], [3, 2], MERGES, 6)
    assert final.tolist() == [0, 0, 0, 2, 3, 2]
    assert made.tolist() == [3 + 6, 3 + 2, 3, 3 + 2, 3, 2]
    ratios = final_ratios(final, made)
    assert ratios[AB] == 2 / 5
    assert ratios[ABC] == 1
    assert ratios[C] == 0


def test_a_token_that_is_never_made_has_no_ratio():
    final, made = count([[A]], [1], MERGES, 6)
    assert np.isnan(final_ratios(final, made)[ABC])


def test_no_merges_change_nothing():
    final, made = count([[A, B], []], [7, 1], [], 6)
    assert final.tolist() == made.tolist() == [7, 7, 0, 0, 0, 0]


def test_bytes_without_a_token_are_skipped_before_the_merges():
    final, _ = count([[A, -1, B, -1]], [2], MERGES, 6)
    assert final.tolist() == [0, 0, 0, 2, 0, 0]


@pytest.mark.parametrize("seed", range(20))
def test_random_words_agree_with_merging_one_at_a_time(seed: int):
    draw = random.Random(seed)
    merges = random_merges(draw)
    words = [draw.choices(range(4), k=draw.randint(0, 30)) for _ in range(60)]
    counts = [draw.randint(1, 10**12) for _ in words]
    final, made = count(words, counts, merges, 40)
    expected_final, expected_made = naive(words, counts, merges)
    assert {i: n for i, n in enumerate(final.tolist()) if n} == dict(expected_final)
    assert {i: n for i, n in enumerate(made.tolist()) if n} == dict(expected_made)
    prefixes = np.arange(0, len(merges) + 1, 5)
    merges_M3 = np.array(merges, dtype=np.int32)
    totals = prefix_token_counts(*flat(words), np.array(counts), merges_M3, prefixes)
    assert totals.tolist() == [
        naive(words, counts, merges[:prefix])[0].total() for prefix in prefixes
    ]


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, small_corpus_texts: list[str]
) -> tuple[Vocabulary, Tokenizer]:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(small_corpus_texts[:20], trainer)
    folder = tmp_path_factory.mktemp("trained")
    tokenizer.save(str(folder / "tokenizer.json"))
    return read_vocabulary(folder), tokenizer


def words_of(tokenizer: Tokenizer, vocabulary: Vocabulary, texts: list[str]):
    """The words of texts as base ids, with counts."""
    counted = Counter(
        text[start:end]
        for text in texts
        for _, (start, end) in tokenizer.pre_tokenizer.pre_tokenize_str(text)
    )
    ids_256 = ids_of_bytes(vocabulary)
    words = [ids_256[np.frombuffer(word.encode(), dtype=np.uint8)] for word in counted]
    return *flat([word.tolist() for word in words]), np.array(list(counted.values()))


def test_a_trained_tokenizer_ends_with_the_tokens_that_the_library_gives(
    trained: tuple[Vocabulary, Tokenizer], small_corpus_texts: list[str]
):
    vocabulary, tokenizer = trained
    ids, starts, counts = words_of(tokenizer, vocabulary, small_corpus_texts)
    merges_M3 = np.array(vocabulary.merges, dtype=np.int32)
    final, made = final_and_made(ids, starts, counts, merges_M3, len(vocabulary))
    encoded = [tokenizer.encode(text).ids for text in small_corpus_texts]
    np.testing.assert_array_equal(
        final, np.bincount(np.concatenate(encoded), minlength=len(vocabulary))
    )
    lengths = np.array([len(data or b"") for data in vocabulary.token_bytes])
    assert np.sum(final * lengths) == sum(len(text.encode()) for text in small_corpus_texts)
    # Whatever is not left was one side of a merge, and every merge makes one token.
    n_base = int(np.sum(np.diff(starts) * counts))
    assert np.sum(made - final) == 2 * (np.sum(made) - n_base)

    every = np.arange(len(vocabulary.merges) + 1)
    totals = prefix_token_counts(ids, starts, counts, merges_M3, every)
    assert totals[0] == n_base
    assert totals[-1] == np.sum(final)
    assert np.all(np.diff(totals) <= 0)
    chosen = [5, 5, 50, 100]
    few = prefix_token_counts(ids, starts, counts, merges_M3, np.array(chosen))
    assert few.tolist() == totals[chosen].tolist()


def test_the_lowest_id_stands_for_a_byte():
    ids_256 = ids_of_bytes(Vocabulary((None, b"a", b"ab", b"a"), ("", "a", "ab", "a"), {}, {}))
    assert ids_256[ord("a")] == 1
    assert ids_256[ord("b")] == -1


@pytest.mark.parametrize(
    ("starts", "ids", "message"),
    [
        ([0, 2, 1], [0, 1], "start 2 is below the one before"),
        ([0, 1], [0, 1], "2 words need 3 starts from 0 to at most 2"),
        ([0, 1, 3], [0, 1], "2 words need 3 starts from 0 to at most 2"),
        ([0, 1, 2], [0, 9], "below 6, the vocabulary's size.* from 0 to 9"),
    ],
)
def test_words_that_do_not_fit_are_refused(starts: list[int], ids: list[int], message: str):
    merges_M3 = np.array(MERGES, dtype=np.int32)
    word_ids, counts = np.array(ids, dtype=np.int32), np.array([1, 1])
    with pytest.raises(WordsError, match=message):
        final_and_made(word_ids, np.array(starts), counts, merges_M3, 6)


@pytest.mark.parametrize("prefixes", [[2, 1], [0, 4], [-1]])
def test_prefixes_must_ascend_within_the_merges(prefixes: list[int]):
    merges_M3 = np.array(MERGES, dtype=np.int32)
    with pytest.raises(WordsError, match="of 3 merges must ascend from 0 to at most 3"):
        prefix_token_counts(*flat([[A]]), np.array([1]), merges_M3, np.array(prefixes))
