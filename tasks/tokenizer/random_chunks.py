"""Texts cut into chunks of random length, the words from which supertokens are learnt.

A chunk holds some words or parts of words, so that BPE over chunks makes tokens of several words
in one stage. In use text is not cut at all. Supertokens of TokenAdapt, 2025 (arXiv 2505.09738),
with a seed.

Dimensions: B = bytes, C = characters, K = chunks.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
from jaxtyping import Int64, UInt8

from tasks.tokenizer.pretoken_counts import bytes_and_offsets

LengthShares = Sequence[tuple[int, int, float]]
"""Shortest and longest chunk of a range, in characters, and how often one is of that range."""

_MOST_REPEATS = 6
"""A character that stands more often in a row says nothing: such runs are left out."""


def cut_chunks(
    texts: pa.StringArray | pa.LargeStringArray,
    numbers: Int64[np.ndarray, " D"],
    seed: int,
    passes: int,
    length_shares: LengthShares,
) -> pa.LargeBinaryArray:
    """Cut every text into chunks, several times over.

    How a document is cut depends on the seed, its number and the pass alone, so that shards can be
    cut apart. Most chunks are unique: memory of what counts them grows with passes times text.

    Args:
        texts: valid UTF-8 without nulls.
        numbers: of each text among all of the corpus.
        seed: of the run.
        passes: how often each text is cut.
        length_shares: shares are relative, ends of ranges inclusive.

    Returns:
        The chunks in the order of passes and texts. A run of seven or more of one character is in
        none of them: the chunk ends before it and another begins behind it.
    """
    data_B, offsets = bytes_and_offsets(texts)
    data_B = data_B[offsets[0] : offsets[-1]]
    is_character_B = (data_B & 0xC0) != 0x80
    starts_C1 = np.append(np.flatnonzero(is_character_B), len(data_B))
    ends = np.searchsorted(starts_C1, offsets - offsets[0])
    parts = [
        _cut_once(data_B, starts_C1, ends, (seed, one), numbers, length_shares)
        for one in range(passes)
    ]
    return pa.chunked_array(parts, pa.large_binary()).combine_chunks()


def _cut_once(
    data_B: UInt8[np.ndarray, " B"],
    starts_C1: Int64[np.ndarray, " C1"],
    ends: Int64[np.ndarray, " D1"],
    seed: tuple[int, int],
    numbers: Int64[np.ndarray, " D"],
    length_shares: LengthShares,
) -> pa.LargeBinaryArray:
    n_characters = len(starts_C1) - 1
    begins_C = np.zeros(n_characters + 1, np.bool_)
    for number, (begin, end) in zip(numbers.tolist(), pairwise(ends), strict=True):
        draw = np.random.default_rng([*seed, number])
        begins_C[begin + _borders(int(end - begin), draw, length_shares)] = True
    begins_C = begins_C[:-1]
    in_run_C = _long_runs(data_B, starts_C1, begins_C)
    begins_C[1:] |= in_run_C[:-1] & ~in_run_C[1:]
    kept_C = ~in_run_C
    widths_C = np.diff(starts_C1)
    kept_B = np.repeat(kept_C, widths_C)
    # Characters that go take their begin with them: what is behind a run begins anew.
    begins_K = np.flatnonzero((begins_C & kept_C)[kept_C])
    at_C1 = np.append(0, np.cumsum(widths_C[kept_C]))
    offsets_K1 = np.append(at_C1[begins_K], at_C1[-1]).astype(np.int64)
    buffers = [None, pa.py_buffer(offsets_K1), pa.py_buffer(data_B[kept_B])]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(begins_K), buffers)


def _borders(
    n_characters: int, draw: np.random.Generator, length_shares: LengthShares
) -> Int64[np.ndarray, " K"]:
    """Where chunks of one document begin; the last is as long as is left."""
    ranges = np.array([(shortest, longest) for shortest, longest, _ in length_shares])
    shares = np.array([share for _, _, share in length_shares])
    n_most = n_characters // int(ranges.min()) + 1
    chosen = ranges[draw.choice(len(ranges), size=n_most, p=shares / shares.sum())]
    lengths = draw.integers(chosen[:, 0], chosen[:, 1], endpoint=True)
    borders_K = np.append(0, np.cumsum(lengths))
    return borders_K[borders_K < n_characters]


def _long_runs(
    data_B: UInt8[np.ndarray, " B"],
    starts_C1: Int64[np.ndarray, " C1"],
    begins_C: np.ndarray,
) -> np.ndarray:
    """Whether each character is part of a long run of itself within its chunk."""
    if len(begins_C) == 0:
        return np.zeros(0, np.bool_)
    points_C = np.frombuffer(data_B.tobytes().decode().encode("utf-32-le"), np.uint32)
    is_first_C = begins_C.copy()
    is_first_C[1:] |= points_C[1:] != points_C[:-1]
    lengths = np.diff(np.append(np.flatnonzero(is_first_C), len(points_C)))
    return np.repeat(lengths > _MOST_REPEATS, lengths)
