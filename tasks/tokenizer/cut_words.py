"""Counted pre-tokens as sequences of token ids, ready for the merge loop."""

from collections.abc import Collection, Sequence
from itertools import pairwise

import numpy as np

from tasks.shared.byte_alphabet import BYTE_CHARACTERS
from tasks.tokenizer.merge_loop import Words
from tasks.tokenizer.pretoken_counts import PretokenCounts

BYTES_IN_ORDER: tuple[bytes, ...] = tuple(
    bytes([byte]) for byte in sorted(range(256), key=BYTE_CHARACTERS.__getitem__)
)
"""All bytes in the order of their characters, in which Hugging Face tokenizers numbers them."""

_NUMBER_OF_BYTE = np.empty(256, np.int32)
_NUMBER_OF_BYTE[[data[0] for data in BYTES_IN_ORDER]] = np.arange(256, dtype=np.int32)


def words_of_bytes(counts: PretokenCounts) -> Words:
    """Every pre-token as its bytes, numbered as in ``BYTES_IN_ORDER``."""
    return Words(_NUMBER_OF_BYTE[counts.data], counts.starts, counts.counts)


def pretoken_bytes(counts: PretokenCounts) -> list[bytes]:
    """The pre-tokens one by one."""
    data, starts = counts.data.tobytes(), counts.starts.tolist()
    return [data[start:end] for start, end in pairwise(starts)]


def words_of_pieces(
    cuts: Sequence[Sequence[int] | None], counts: PretokenCounts, apart: Collection[int]
) -> tuple[Words, int]:
    """Pre-tokens as an old tokenizer cuts them.

    Args:
        cuts: ids of each pre-token; ``None`` where the old tokenizer cannot write it.
        counts: the pre-tokens.
        apart: ids that must not be merged; a word is split around them.

    Returns:
        The words that can be written, and occurrences of those that cannot.
    """
    kept_P = np.array([cut is not None for cut in cuts], np.bool_)
    written = [cut for cut in cuts if cut is not None]
    lengths_W = np.array([len(cut) for cut in written], np.int64)
    symbols_S = np.fromiter((i for cut in written for i in cut), np.int32, int(lengths_W.sum()))
    counts_S = np.repeat(counts.counts[kept_P], lengths_W)
    starts_here_S = np.zeros(len(symbols_S) + 1, np.bool_)
    starts_here_S[np.concatenate(([0], np.cumsum(lengths_W)))] = True
    apart_S = np.isin(symbols_S, np.array(sorted(apart), np.int32))
    starts_here_S[:-1] |= apart_S
    starts_here_S[1:] |= apart_S
    starts_W1 = np.flatnonzero(starts_here_S).astype(np.int64)
    words = Words(symbols_S, starts_W1, counts_S[starts_W1[:-1]])
    return words, int(counts.counts[~kept_P].sum())
