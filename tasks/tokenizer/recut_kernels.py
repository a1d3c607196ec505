"""Words of any length cut by ranked merges, compiled.

As in the tokenizers library the adjacent pair of lowest rank is merged first, of equal ones the
leftmost. Pairs that may be merged wait in a heap and a word's symbols are a linked list, so that
time grows with n log n of a word's length: a stretch of many words costs no more than its words.

Callers check what comes in: nothing here looks at bounds.
"""

from typing import no_type_check

import numpy as np
from numba import njit

from tasks.tokenizer.heap_kernels import heap_pop, heap_push
from tasks.tokenizer.table_kernels import find_pair, mix

_NO_RANK = np.int64(-1)


@njit(cache=True, nogil=True)
@no_type_check
def rank_table(merges_M3):
    """A table of (pair, rank) for ``find_pair``; of equal pairs the first one stands."""
    n_slots = 16
    while n_slots < 2 * len(merges_M3):
        n_slots *= 2
    slots = np.full((n_slots, 2), -1, np.int64)
    for rank in range(len(merges_M3)):
        key = np.int64(merges_M3[rank, 0]) << 32 | np.int64(merges_M3[rank, 1])
        if find_pair(slots, key) >= 0:
            continue
        slot = mix(key) & (n_slots - 1)
        while slots[slot, 1] >= 0:
            slot = (slot + 1) & (n_slots - 1)
        slots[slot] = key, rank
    return slots


@njit(cache=True, nogil=True)
@no_type_check
def recut_all(symbols_S, starts_W1, counts_W, merges_M3, left_T, made_T):
    """Cut every word.

    Args:
        symbols_S: int32, ids of all words.
        starts_W1: int64, where each word starts, and the end.
        counts_W: int64, occurrences.
        merges_M3: int32, (left, right, result) by rank.
        left_T: int64, added to: occurrences of each token in the words as they are cut.
        made_T: int64, added to: how often a merge makes each token.

    Returns:
        Symbols and starts of the cut words.
    """
    slots = rank_table(merges_M3)
    longest = 1
    for word in range(len(counts_W)):
        longest = max(longest, starts_W1[word + 1] - starts_W1[word])
    # Of the pair that starts at each symbol; its neighbours; its own id.
    ranks_L = np.empty(longest, np.int64)
    links_L2 = np.empty((longest, 2), np.int32)
    word_L = np.empty(longest, np.int32)
    heap = np.empty((3 * longest, 2), np.int64)
    cut_S = np.empty(len(symbols_S), np.int32)
    cut_starts_W1 = np.zeros(len(starts_W1), np.int64)
    out = 0
    for word in range(len(counts_W)):
        n = starts_W1[word + 1] - starts_W1[word]
        word_L[:n] = symbols_S[starts_W1[word] : starts_W1[word + 1]]
        _merge_word(n, counts_W[word], slots, merges_M3, word_L, ranks_L, links_L2, heap, made_T)
        at = 0 if n > 0 else -1
        while at >= 0:
            cut_S[out] = word_L[at]
            left_T[word_L[at]] += counts_W[word]
            out += 1
            at = links_L2[at, 1]
        cut_starts_W1[word + 1] = out
    return cut_S[:out].copy(), cut_starts_W1


@njit(cache=True, nogil=True)
@no_type_check
def _merge_word(n, count, slots, merges_M3, word_L, ranks_L, links_L2, heap, made_T):
    """Merge one word in place; the symbols left are those that the links lead to from 0."""
    size = 0
    for i in range(n):
        links_L2[i] = i - 1, i + 1 if i + 1 < n else -1
    for i in range(n):
        size = _offer(i, size, slots, word_L, ranks_L, links_L2, heap)
    while size > 0:
        rank, at = -heap[0, 0], heap[0, 1]
        size = heap_pop(heap, size)
        if ranks_L[at] != rank:  # its pair is another by now, or it is part of its left neighbour
            continue
        gone = links_L2[at, 1]
        word_L[at] = merges_M3[rank, 2]
        made_T[word_L[at]] += count
        ranks_L[gone] = _NO_RANK
        after = links_L2[gone, 1]
        links_L2[at, 1] = after
        if after >= 0:
            links_L2[after, 0] = at
        size = _offer(at, size, slots, word_L, ranks_L, links_L2, heap)
        if links_L2[at, 0] >= 0:
            size = _offer(links_L2[at, 0], size, slots, word_L, ranks_L, links_L2, heap)


@njit(cache=True, nogil=True)
@no_type_check
def _offer(at, size, slots, word_L, ranks_L, links_L2, heap):
    """Look up the pair that starts here and let it wait in the heap; returns the heap's size."""
    ranks_L[at] = _NO_RANK
    after = links_L2[at, 1]
    if after >= 0:
        ranks_L[at] = find_pair(slots, np.int64(word_L[at]) << 32 | np.int64(word_L[after]))
        if ranks_L[at] != _NO_RANK:
            size = heap_push(heap, size, -ranks_L[at], at)
    return size
