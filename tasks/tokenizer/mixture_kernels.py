"""Replay a list of merges over counted words, and read pair counts on the way, compiled.

The words and tokens are those of the merge loop. Here not the counts choose the next merge but a
list does. All tokens that the list makes stand among the base tokens of the state, so that ids,
and with them keys of pairs, mean the same over whatever words the list is replayed.
"""

from typing import no_type_check

import numpy as np
from numba import njit

from tasks.tokenizer.heap_kernels import heap_pop, heap_push, heap_replace_top
from tasks.tokenizer.merge_kernels import N_HEAP, PAIR_COUNT, merge_pair, with_room
from tasks.tokenizer.table_kernels import find_pair, grown

_ANY_LENGTH = 1 << 40


@njit(cache=True, nogil=True)
@no_type_check
def pairs_above(state, merges_T, least_T, most):
    """Pairs that are more frequent than so much before each merge of a list.

    Args:
        state: words with their pairs counted.
        merges_T: keys of the pairs to merge, in order; one that does not occur changes nothing.
        least_T: a pair with this count or less is left out.
        most: how many to list before one merge; the rarest are left out.

    Returns:
        Keys and counts, the most frequent first within a step, and how many each step has.
    """
    keys_C, counts_C = np.empty(most, np.int64), np.empty(most, np.int64)
    listed_T = np.zeros(len(merges_T), np.int64)
    start = 0
    for step in range(len(merges_T)):
        state = with_room(state)
        end = start + most
        keys_C, counts_C = grown(keys_C, end), grown(counts_C, end)
        listed_T[step] = _list_top(state, least_T[step], keys_C[start:end], counts_C[start:end])
        start += listed_T[step]
        _force(state, merges_T[step])
    return keys_C[:start], counts_C[:start], listed_T


@njit(cache=True, nogil=True)
@no_type_check
def counts_along(state, merges_T, keys_C, starts_T1):
    """Counts of chosen pairs before each merge of a list.

    Args:
        state: words with their pairs counted.
        merges_T: as in ``pairs_above``.
        keys_C: keys of the pairs to count.
        starts_T1: where the pairs of each step start in ``keys_C``, and a last entry C.
    """
    counts_C = np.zeros(len(keys_C), np.int64)
    for step in range(len(merges_T)):
        state = with_room(state)
        for i in range(starts_T1[step], starts_T1[step + 1]):
            counts_C[i] = _count_of(state, keys_C[i])
        _force(state, merges_T[step])
    return counts_C


@njit(cache=True, nogil=True)
@no_type_check
def _count_of(state, key):
    pair = find_pair(state.slots, key)
    return state.pairs[pair, PAIR_COUNT] if pair >= 0 else np.int64(0)


@njit(cache=True, nogil=True)
@no_type_check
def _force(state, key):
    """Merge a pair whatever its standing."""
    if _count_of(state, key) > 0:
        merge_pair(state, find_pair(state.slots, key), _ANY_LENGTH)


@njit(cache=True, nogil=True)
@no_type_check
def _list_top(state, least, keys_K, counts_K):
    """Write the most frequent pairs and their counts; what was taken off the heap goes back."""
    heap, slots, pairs, n = state.heap, state.slots, state.pairs, state.n
    n_listed = 0
    while n_listed < len(keys_K) and n[N_HEAP] > 0 and heap[0, 0] > least:
        count, key = heap[0, 0], heap[0, 1]
        now = pairs[find_pair(slots, key), PAIR_COUNT]
        if 0 < now < count:
            heap_replace_top(heap, n[N_HEAP], now, key)
            continue
        n[N_HEAP] = heap_pop(heap, n[N_HEAP])
        # Entries of one pair and count come up one after the other; the first is enough.
        if now == count and (n_listed == 0 or keys_K[n_listed - 1] != key):
            keys_K[n_listed], counts_K[n_listed] = key, count
            n_listed += 1
    for i in range(n_listed):
        n[N_HEAP] = heap_push(heap, n[N_HEAP], counts_K[i], keys_K[i])
    return n_listed
