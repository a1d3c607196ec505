"""Words cut anew by a list of merges, with the counts that this gives every token.

Dimensions: S = symbols of all words, W = words, M = merges, T = tokens.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32, Int64

from tasks.tokenizer.merge_loop import Words
from tasks.tokenizer.recut_kernels import recut_all
from tasks.tokenizer.residue import WordsError

_LONG_WORD_BYTES = 512


@dataclass(frozen=True)
class Recut:
    """Words under some merges.

    Attributes:
        words: the same words in the same order, in fewer symbols.
        counts: occurrences of each token in them.
        made: how often a merge made each token on the way.
    """

    words: Words
    counts: Int64[np.ndarray, " T"]
    made: Int64[np.ndarray, " T"]


def has_long_words(words: Words) -> bool:
    """Whether words of bytes are better cut here than by what takes time by their length squared.

    Words with bytes that have no token, whose id is negative, cannot be.
    """
    longest = np.diff(words.starts).max(initial=0)
    return bool(longest > _LONG_WORD_BYTES and words.symbols.min() >= 0)


def recut(words: Words, merges: Int32[np.ndarray, "M 3"], n_tokens: int) -> Recut:
    """Merge the pairs of every word, lowest rank first and of equal ones the leftmost.

    Args:
        words: as ids of tokens.
        merges: left, right and result id by rank. Of equal pairs the first one counts.
        n_tokens: tokens in all.

    Raises:
        WordsError: an id is none of the tokens.
    """
    ids = (words.symbols, merges)
    if any(part.max(initial=-1) >= n_tokens or part.min(initial=0) < 0 for part in ids):
        raise WordsError(
            f"Ids of words and merges must lie from 0 to {n_tokens - 1}, the last of {n_tokens} "
            f"tokens; they reach to {max(part.max(initial=-1) for part in ids)}. Take words and "
            "merges from one tokenizer."
        )
    counts_T, made_T = (np.zeros(n_tokens, np.int64) for _ in range(2))
    # Kernels are compiled for one kind of array each, and Arrow's buffers are read-only.
    symbols_S, starts_W1, counts_W, merges_M3 = (
        np.require(array, requirements=["C", "W"])
        for array in (words.symbols, words.starts, words.counts, merges)
    )
    symbols_S, starts_W1 = recut_all(symbols_S, starts_W1, counts_W, merges_M3, counts_T, made_T)
    return Recut(Words(symbols_S, starts_W1, words.counts), counts_T, made_T)
