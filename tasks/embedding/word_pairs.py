"""Words and their translations as the tokens that a model reads.

Dimensions: N = pairs, B = pairs of a batch, L = longest word, W = new vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from tasks.embedding.dictionaries import WordPair
from tasks.embedding.pieces import Pieces
from tasks.embedding.words_of_tokens import Encode, cut_words
from tasks.shared.errors import InputError


class NoWordsToAlignError(InputError):
    """No word of the dictionary has a new token."""


@dataclass(frozen=True)
class WordPairs:
    """Old tokens of a word and new tokens of its translation, by pair."""

    old: Pieces
    new: Pieces
    word: Int64[np.ndarray, " N"]
    """Number of the word: pairs with one number are no wrong translations of each other."""
    translation: Int64[np.ndarray, " N"]

    def __len__(self) -> int:
        """Count the pairs."""
        return len(self.word)


@dataclass(frozen=True)
class Side:
    """Words of a batch behind the document prefix, padded on the right."""

    ids: Int64[np.ndarray, "B L"]
    is_word: Bool[np.ndarray, "B L"]


def pair_words(
    pairs: Sequence[WordPair], old: Encode, new: Encode, is_new_W: Bool[np.ndarray, " W"]
) -> WordPairs:
    """Cut both sides, at a text's start and behind a space, and keep what teaches a new row.

    Args:
        pairs: a word of the source model's language, and one of the new tokenizer's.
        old: the source model's tokenizer.
        new: the new one.
        is_new_W: tokens whose rows are to be taught.

    Raises:
        NoWordsToAlignError: no translation has one of them.
    """
    words = list(dict.fromkeys(word for word, _ in pairs))
    translations = list(dict.fromkeys(translation for _, translation in pairs))
    number_of = {word: number for number, word in enumerate(words)}
    other_number_of = {word: number for number, word in enumerate(translations)}
    cuts: list[tuple[list[int], list[int], int, int]] = []
    for old_cut, new_cut in zip(cut_words(words, old), cut_words(translations, new), strict=True):
        for word, translation in pairs:
            one, other = number_of[word], other_number_of[translation]
            ids, new_ids = old_cut.of(one), new_cut.of(other)
            if ids and new_ids and is_new_W[new_ids].any():
                cuts.append((ids, new_ids, one, other))
    if not cuts:
        raise NoWordsToAlignError(
            f"none of {len(translations)} words of the dictionary's second language holds one of "
            f"the {int(is_new_W.sum())} new tokens; is it the language of the new tokenizer, or "
            "has the dictionary to be reversed?"
        )
    ids, new_ids, numbers, others = zip(*cuts, strict=True)
    return WordPairs(
        Pieces.from_lists(ids), Pieces.from_lists(new_ids), np.array(numbers), np.array(others)
    )


def draw_pairs(
    n_pairs: int, n_of_batch: int, n_batches: int, seed: int
) -> Iterator[Int64[np.ndarray, " B"]]:
    """Go through the pairs in random order, again and again in another one."""
    rng = np.random.default_rng(seed)
    waiting: list[int] = []
    for _ in range(n_batches):
        while len(waiting) < min(n_of_batch, n_pairs):
            waiting += rng.permutation(n_pairs).tolist()
        yield np.array(waiting[:n_of_batch])
        del waiting[:n_of_batch]


def batch_side(words: Pieces, at_B: Int64[np.ndarray, " B"], prefix: int) -> Side:
    """Write some words below each other; padding repeats the prefix."""
    rows = [words.of(i) for i in at_B.tolist()]
    ids_BL = np.full((len(rows), 1 + max(len(row) for row in rows)), prefix, np.int64)
    is_word_BL = np.zeros(ids_BL.shape, bool)
    for at, row in enumerate(rows):
        ids_BL[at, 1 : 1 + len(row)] = row
        is_word_BL[at, 1 : 1 + len(row)] = True
    return Side(ids_BL, is_word_BL)
