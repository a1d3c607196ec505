"""What is aligned of tokenized sentences: their tokens, or words made of them.

Dimensions: V = vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from tasks.embedding.pieces import Pieces


@dataclass(frozen=True)
class Units:
    """Sentences as units, and units as tokens."""

    sentences: Pieces
    """Units of each sentence."""
    tokens: Pieces
    """Tokens of each unit."""


def token_units(sentences: Pieces, n_tokens: int) -> Units:
    """Every token is a unit of its own."""
    ids = np.arange(n_tokens, dtype=np.int32)
    return Units(sentences, Pieces(ids, np.arange(n_tokens + 1)))


def word_units(sentences: Pieces, token_bytes: Sequence[bytes | None]) -> Units:
    """Join tokens where a letter or digit meets another without a space between.

    Text without spaces between its words comes out as long units; align its tokens instead.
    """
    goes_on = _goes_on(sentences, token_bytes)
    starts = np.flatnonzero(~goes_on)
    lengths = np.diff(np.append(starts, len(goes_on)))
    unit, n_units = _number(sentences.ids.astype(np.int64), starts, lengths, len(token_bytes))
    example = np.zeros(n_units, np.int64)
    example[unit[::-1]] = np.arange(len(unit))[::-1]
    offsets = np.append(0, np.cumsum(lengths[example])).astype(np.int64)
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths[example])
    tokens = sentences.ids[np.repeat(starts[example], lengths[example]) + within]
    words_before = np.append(0, np.cumsum(~goes_on))[sentences.offsets]
    return Units(Pieces(unit.astype(np.int32), words_before), Pieces(tokens, offsets))


def _goes_on(sentences: Pieces, token_bytes: Sequence[bytes | None]) -> Bool[np.ndarray, " N"]:
    """Mark each token of the text that continues the word before it."""
    begins_V = np.array([bool(data) and _in_word(data[0]) for data in token_bytes], bool)
    ends_V = np.array([bool(data) and _in_word(data[-1]) for data in token_bytes], bool)
    goes_on = begins_V[sentences.ids]
    goes_on[1:] &= ends_V[sentences.ids[:-1]]
    goes_on[sentences.offsets[:-1][sentences.lengths > 0]] = False
    return goes_on


def _in_word(byte: int) -> bool:
    """Letters and digits; every character beyond ASCII counts as one."""
    return byte >= 0x80 or chr(byte).isalnum()


def _number(
    ids: Int64[np.ndarray, " N"],
    starts: Int64[np.ndarray, " M"],
    lengths: Int64[np.ndarray, " M"],
    n_tokens: int,
) -> tuple[Int64[np.ndarray, " M"], int]:
    """Give equal words one number, growing all of them by one token at a time."""
    unit = np.zeros(len(starts), np.int64)
    n_units = 0
    for depth in range(int(lengths.max(initial=0))):
        longer = np.flatnonzero(lengths > depth)
        keys = unit[longer] * n_tokens + ids[starts[longer] + depth]
        distinct, place = np.unique(keys, return_inverse=True)
        # Numbers of shorter words stay below, so none is given twice.
        unit[longer] = place + n_units
        n_units += len(distinct)
    return np.unique(unit, return_inverse=True)[1], len(np.unique(unit))
