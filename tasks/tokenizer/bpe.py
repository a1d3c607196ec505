"""A new byte-level vocabulary, learnt from counted pre-tokens alone: BPE and Scaffold-BPE.

All 256 bytes have a token, so any text can be written. Special tokens come first, in the order of
their ids in the source.
"""

from collections.abc import Callable

import numpy as np

from tasks.tokenizer.cut_words import BYTES_IN_ORDER, words_of_bytes
from tasks.tokenizer.errors import CorpusTooSmallError, VocabularyTooSmallError
from tasks.tokenizer.merge_loop import Learnt, Limits, Words, learn_merges
from tasks.tokenizer.pretoken_counts import PretokenCounts


def check_size(size: int, n_special: int, field: str = "vocabulary_size") -> None:
    """Refuse a vocabulary without room for what every vocabulary holds.

    Args:
        size: tokens in all.
        n_special: special tokens among them.
        field: of the config, where the size comes from.

    Raises:
        VocabularyTooSmallError: it names both numbers.
    """
    n_least = len(BYTES_IN_ORDER) + n_special
    if size < n_least:
        raise VocabularyTooSmallError(
            f"{field}={size} is below {n_least}, the 256 bytes and "
            f"{n_special} special tokens that every vocabulary holds; raise it."
        )


def learn_vocabulary(
    counts: PretokenCounts,
    limits: Limits,
    n_special: int,
    *,
    scaffold: bool,
    field: str = "vocabulary_size",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Learnt:
    """Learn merges over bytes.

    Args:
        counts: pre-tokens.
        limits: ``n_tokens`` is the whole vocabulary: special tokens, bytes, merges.
        n_special: special tokens that the vocabulary will hold.
        scaffold: Scaffold-BPE; tokens that it takes out do not count.
        field: of the config, where the size comes from.
        progress: called with tokens and those wanted.

    Raises:
        VocabularyTooSmallError: no room for the bytes and special tokens.
        CorpusTooSmallError: the text does not hold so many pairs.
    """
    check_size(limits.n_tokens, n_special, field)
    own = limits.with_tokens(limits.n_tokens - n_special)
    words = words_of_bytes(counts)
    learnt = learn_merges(words, BYTES_IN_ORDER, own, scaffold=scaffold, progress=progress)
    check_found(learnt.n_visible() + n_special, limits, field)
    return learnt


def no_merges() -> Learnt:
    """The 256 bytes alone."""
    nothing = Words(np.zeros(0, np.int32), np.zeros(1, np.int64), np.zeros(0, np.int64))
    return learn_merges(nothing, BYTES_IN_ORDER, Limits(len(BYTES_IN_ORDER)))


def check_found(n_found: int, limits: Limits, field: str) -> None:
    """Refuse a vocabulary for which the text did not suffice.

    Raises:
        CorpusTooSmallError: it names what was found and what was asked for.
    """
    if n_found < limits.n_tokens:
        raise CorpusTooSmallError(
            f"The corpus yields a vocabulary of {n_found} tokens whose pairs occur "
            f"min_frequency={limits.min_frequency} times within max_token_bytes="
            f"{limits.max_token_bytes}, but {field}={limits.n_tokens}; give it more text or ask "
            "for fewer tokens."
        )
