"""Character n-grams of fastText as rows of its matrix, compiled."""

from typing import no_type_check

import numpy as np
from numba import njit

_FNV_START = np.uint32(2166136261)
_FNV_PRIME = np.uint32(16777619)


@njit(cache=True, nogil=True)
@no_type_check
def hash_ngrams(text, starts, shortest, longest, n_buckets, offsets, out):
    """Number the n-grams of each word by their bucket.

    Args:
        text: uint8, the words in UTF-8 with ``<`` before and ``>`` behind each.
        starts: int64, where each word starts, and the end of the last.
        shortest: least characters of an n-gram.
        longest: most characters of an n-gram.
        n_buckets: buckets that hashes are taken into.
        offsets: int64, written: where each word's n-grams start in ``out``, and their number.
        out: int64, written: buckets; if it is empty, n-grams are only counted.
    """
    n = np.int64(0)
    for word in range(len(starts) - 1):
        offsets[word] = n
        start, end = starts[word], starts[word + 1]
        for first in range(start, end):
            if text[first] & 0xC0 == 0x80:
                continue
            value = _FNV_START
            at = first
            characters = 0
            while at < end and characters < longest:
                while True:
                    # A byte is signed there, so one above 127 sets the upper bits too.
                    byte = np.uint32(text[at])
                    if byte > 127:
                        byte |= np.uint32(0xFFFFFF00)
                    value = np.uint32((value ^ byte) * _FNV_PRIME)
                    at += 1
                    if at >= end or text[at] & 0xC0 != 0x80:
                        break
                characters += 1
                mark = characters == 1 and (first == start or at == end)
                if characters >= shortest and not mark:
                    if len(out):
                        out[n] = np.int64(value) % n_buckets
                    n += 1
    offsets[len(starts) - 1] = n
