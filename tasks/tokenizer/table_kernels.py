"""Open-addressing tables of pairs and tokens, and arrays that grow."""

from typing import no_type_check

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
@no_type_check
def mix(key):
    """Spread a key over 63 bits."""
    value = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    value ^= value >> np.uint64(29)
    value *= np.uint64(0xBF58476D1CE4E5B9)
    return np.int64(value >> np.uint64(1))


@njit(cache=True, nogil=True)
@no_type_check
def find_pair(slots, key):
    """Index of a pair in a table of (key, index), or -1."""
    mask = len(slots) - 1
    slot = mix(key) & mask
    while slots[slot, 1] >= 0:
        if slots[slot, 0] == key:
            return slots[slot, 1]
        slot = (slot + 1) & mask
    return np.int64(-1)


@njit(cache=True, nogil=True)
@no_type_check
def rehashed(slots):
    """A table of pairs of twice the size with the same entries."""
    new = np.full((2 * len(slots), 2), -1, np.int64)
    mask = len(new) - 1
    for old in range(len(slots)):
        if slots[old, 1] >= 0:
            slot = mix(slots[old, 0]) & mask
            while new[slot, 1] >= 0:
                slot = (slot + 1) & mask
            new[slot] = slots[old]
    return new


@njit(cache=True, nogil=True)
@no_type_check
def find_token(token_slots, tokens, arena, at, length, hashed):
    """Slot of the token that has these bytes of the arena, or the free slot where it belongs.

    Columns of ``tokens``: start and length of its bytes in the arena, their hash.
    """
    mask = len(token_slots) - 1
    slot = mix(hashed) & mask
    while token_slots[slot] >= 0:
        token = token_slots[slot]
        if tokens[token, 2] == hashed and tokens[token, 1] == length:
            start = tokens[token, 0]
            same = True
            for i in range(length):
                if arena[start + i] != arena[at + i]:
                    same = False
                    break
            if same:
                return slot
        slot = (slot + 1) & mask
    return slot


@njit(cache=True, nogil=True)
@no_type_check
def grown(array, n_rows):
    """The array itself, or a larger copy if it has fewer rows."""
    if n_rows <= len(array):
        return array
    new = np.empty((2 * n_rows, *array.shape[1:]), array.dtype)
    new[: len(array)] = array
    return new
