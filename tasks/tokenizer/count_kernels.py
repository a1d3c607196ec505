"""A hash table from byte strings to entries with a count, compiled.

The bytes of all entries stand in one arena, in the order in which they were first met. A slot holds
the number of an entry plus one, 0 if it is free, and above it the upper half of the hash, so that
most strangers are told apart without a look at the entry. At most half of the slots are taken; all
arrays grow by doubling.
"""

from typing import NamedTuple, no_type_check

import numpy as np
from numba import njit

# Columns of ``entries``: where its bytes lie in the arena, a hash of them, and its count.
START, LENGTH, HASH, COUNT = 0, 1, 2, 3
# Places in ``n``.
N_ENTRIES, N_BYTES, N_DROPPED, N_DROPPED_BYTES = 0, 1, 2, 3

_LOW_HALF = np.uint64(0xFFFFFFFF)
_BATCH = 256


class Table(NamedTuple):
    """The arrays of one hash table; ``n`` holds how much of them is used, and what was dropped."""

    slots: np.ndarray
    entries: np.ndarray
    arena: np.ndarray
    n: np.ndarray


def empty_table() -> Table:
    """A table without entries."""
    return Table(
        np.zeros(1 << 12, np.uint64),
        np.zeros((1 << 11, 4), np.int64),
        np.zeros(1 << 14, np.uint8),
        np.zeros(4, np.int64),
    )


@njit(cache=True, nogil=True)
@no_type_check
def count_all(table, data, starts, max_bytes):
    """Count the strings ``data[starts[s]:starts[s + 1]]``; those over ``max_bytes`` are dropped.

    Returns the table that takes the place of the given one.
    """
    slots, entries, arena, n = table
    hashes = np.empty(_BATCH, np.uint64)
    for first in range(0, len(starts) - 1, _BATCH):
        last = min(first + _BATCH, len(starts) - 1)
        # Hash some and look up after: so the waits for memory of many strings overlap.
        for string in range(first, last):
            hashes[string - first] = _hash(data, starts[string], starts[string + 1])
        for string in range(first, last):
            i, end, hashed = starts[string], starts[string + 1], hashes[string - first]
            if end - i > max_bytes:
                n[N_DROPPED] += 1
                n[N_DROPPED_BYTES] += end - i
                continue
            slot = _slot_of(slots, entries, arena, data, i, end, hashed)
            if slots[slot] == 0:
                slots, entries, arena, n = _inserted(
                    Table(slots, entries, arena, n), data, i, end, hashed, slot
                )
                entries[n[N_ENTRIES] - 1, COUNT] = 1
            else:
                entries[np.int64(slots[slot] & _LOW_HALF) - 1, COUNT] += 1
    return Table(slots, entries, arena, n)


@njit(cache=True, nogil=True)
@no_type_check
def intern_all(table, data, starts):
    """Find or make the entry of each string ``data[starts[s]:starts[s + 1]]``.

    Returns the table that takes the place of the given one, and an entry a string.
    """
    slots, entries, arena, n = table
    found = np.empty(len(starts) - 1, np.int64)
    for string in range(len(found)):
        i, end = starts[string], starts[string + 1]
        hashed = _hash(data, i, end)
        slot = _slot_of(slots, entries, arena, data, i, end, hashed)
        if slots[slot] == 0:
            slots, entries, arena, n = _inserted(
                Table(slots, entries, arena, n), data, i, end, hashed, slot
            )
            found[string] = n[N_ENTRIES] - 1
        else:
            found[string] = np.int64(slots[slot] & _LOW_HALF) - 1
    return Table(slots, entries, arena, n), found


@njit(cache=True, nogil=True)
@no_type_check
def _hash(data, i, end):
    """Mix the bytes, eight at a time; of strings up to eight bytes and of one length, no two agree.

    For then each step is a bijection of the one word.
    """
    hashed = np.uint64(end - i) * np.uint64(0x9E3779B97F4A7C15)
    while end - i > 8:
        hashed = _mixed(hashed ^ _eight_bytes(data, i))
        i += 8
    if i < end and i + 8 <= len(data):
        n_beyond = np.uint64(8 * (8 - (end - i)))
        return _mixed(hashed ^ (_eight_bytes(data, i) << n_beyond))
    word = np.uint64(0)
    for k in range(end - i):
        word |= np.uint64(data[i + k]) << np.uint64(8 * (k + 8 - (end - i)))
    return _mixed(hashed ^ word)


@njit(cache=True, nogil=True)
@no_type_check
def _eight_bytes(data, i):
    """The bytes from ``i`` on as one word: unsigned indices let the compiler load them at once."""
    at = np.uintp(i)
    word = np.uint64(0)
    for k in range(8):
        word |= np.uint64(data[at + np.uintp(k)]) << np.uint64(8 * k)
    return word


@njit(cache=True, nogil=True)
@no_type_check
def _mixed(word):
    word *= np.uint64(0xD6E8FEB86659FD93)
    word ^= word >> np.uint64(32)
    word *= np.uint64(0xD6E8FEB86659FD93)
    return word ^ (word >> np.uint64(32))


@njit(cache=True, nogil=True)
@no_type_check
def _slot_of(slots, entries, arena, data, i, end, hashed):
    """The slot whose entry has these bytes, or the free one where it belongs."""
    mask = np.uint64(len(slots) - 1)
    slot = hashed & mask
    length = end - i
    while slots[slot] != 0:
        if (slots[slot] ^ hashed) <= _LOW_HALF:
            entry = np.int64(slots[slot] & _LOW_HALF) - 1
            if entries[entry, LENGTH] == length and entries[entry, HASH] == np.int64(hashed):
                if length <= 8:
                    return slot
                start = entries[entry, START]
                k = 0
                while k < length and arena[start + k] == data[i + k]:
                    k += 1
                if k == length:
                    return slot
        slot = (slot + np.uint64(1)) & mask
    return slot


@njit(cache=True, nogil=True)
@no_type_check
def _inserted(table, data, i, end, hashed, slot):
    slots, entries, arena, n = table
    entry, start, length = n[N_ENTRIES], n[N_BYTES], end - i
    if entry == len(entries):
        entries = _with_more_rows(entries)
    if start + length > len(arena):
        arena = _with_more_bytes(arena, start + length)
    for k in range(length):
        arena[start + k] = data[i + k]
    entries[entry, START] = start
    entries[entry, LENGTH] = length
    entries[entry, HASH] = np.int64(hashed)
    slots[slot] = (hashed & ~_LOW_HALF) | np.uint64(entry + 1)
    n[N_ENTRIES], n[N_BYTES] = entry + 1, start + length
    if 2 * (entry + 1) > len(slots):
        slots = _rehashed(entries, entry + 1, 2 * len(slots))
    return Table(slots, entries, arena, n)


# Copied by loops: slices on the left of an assignment take seconds to compile.
@njit(cache=True, nogil=True)
@no_type_check
def _with_more_rows(entries):
    longer = np.zeros((2 * len(entries), 4), np.int64)
    for entry in range(len(entries)):
        for column in range(4):
            longer[entry, column] = entries[entry, column]
    return longer


@njit(cache=True, nogil=True)
@no_type_check
def _with_more_bytes(arena, n_least):
    longer = np.zeros(max(2 * len(arena), n_least), np.uint8)
    for k in range(len(arena)):
        longer[k] = arena[k]
    return longer


@njit(cache=True, nogil=True)
@no_type_check
def _rehashed(entries, n_entries, n_slots):
    slots = np.zeros(n_slots, np.uint64)
    mask = np.uint64(n_slots - 1)
    for entry in range(n_entries):
        hashed = np.uint64(entries[entry, HASH])
        slot = hashed & mask
        while slots[slot] != 0:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = (hashed & ~_LOW_HALF) | np.uint64(entry + 1)
    return slots
