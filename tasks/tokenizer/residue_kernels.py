"""BPE over words as arrays, compiled.

A word is merged as the tokenizers library merges it: the adjacent pair of lowest rank first, of
equal ones the leftmost. Its pairs' ranks are kept beside its symbols, so a merge looks up only
the two pairs that it makes. Time grows with the square of a word's length, so words must be short.

Callers check what comes in: nothing here looks at bounds.
"""

from typing import no_type_check

import numpy as np
from numba import njit

_NO_RANK = np.int32(2**31 - 1)
"""Of a pair that no merge joins; larger than any rank."""
_MIX = np.uint64(0x9E3779B97F4A7C15)
"""2**64 over the golden ratio: multiplying by it spreads neighbouring keys over the high bits."""


@njit(cache=True, nogil=True)
@no_type_check
def build_pair_table(merges_M3):
    """Hash pairs by open addressing, at most half full; of equal pairs the first one stands.

    Args:
        merges_M3: int32, (left, right, result) by rank.

    Returns:
        keys_T, int64, left and right in one or -1, and values_T2, int32, (rank, result).
    """
    n_bits = 4
    while (1 << n_bits) < 2 * len(merges_M3):
        n_bits += 1
    keys_T = np.full(1 << n_bits, -1, dtype=np.int64)
    values_T2 = np.zeros((1 << n_bits, 2), dtype=np.int32)
    for rank in range(len(merges_M3)):
        key = _key(merges_M3[rank, 0], merges_M3[rank, 1])
        slot = _slot(keys_T, key)
        if keys_T[slot] == -1:
            keys_T[slot] = key
            values_T2[slot, 0] = rank
            values_T2[slot, 1] = merges_M3[rank, 2]
    return keys_T, values_T2


@njit(cache=True, nogil=True)
@no_type_check
def count_final_and_made(word_ids_B, starts_P1, counts_P, keys_T, values_T2, final_W, made_W):
    """Merge every word; add its count to each token that it ends as or passes through.

    Args:
        word_ids_B: int32, base ids of all words; negative ones are skipped.
        starts_P1: int64, where each word starts, and the end.
        counts_P: int64, how often each word occurs.
        keys_T: of ``build_pair_table``.
        values_T2: the same.
        final_W: int64, added to: tokens that are left at the end.
        made_W: int64, added to: tokens that are there at any time, the base ids at the start.
    """
    symbols_L, ranks_L, results_L = _room_for(starts_P1)
    for word in range(len(counts_P)):
        count = counts_P[word]
        word_B = word_ids_B[starts_P1[word] : starts_P1[word + 1]]
        n = _load(word_B, keys_T, values_T2, symbols_L, ranks_L, results_L)
        for i in range(n):
            made_W[symbols_L[i]] += count
        at = _lowest(ranks_L, n)
        while ranks_L[at] != _NO_RANK:
            n = _merge(at, n, keys_T, values_T2, symbols_L, ranks_L, results_L)
            made_W[symbols_L[at]] += count
            at = _lowest(ranks_L, n)
        for i in range(n):
            final_W[symbols_L[i]] += count


@njit(cache=True, nogil=True)
@no_type_check
def count_by_prefix(word_ids_B, starts_P1, counts_P, keys_T, values_T2, n_merges_S, totals_S):
    """Merge every word once and note its length as each prefix of the merges runs out.

    The lowest rank always goes first, so the last state before rank m is reached is the word
    under the first m merges.

    Args:
        word_ids_B: as above.
        starts_P1: as above.
        counts_P: as above.
        keys_T: as above.
        values_T2: as above.
        n_merges_S: int64, lengths of the prefixes, ascending.
        totals_S: int64, added to: tokens of all words under each prefix.
    """
    symbols_L, ranks_L, results_L = _room_for(starts_P1)
    for word in range(len(counts_P)):
        word_B = word_ids_B[starts_P1[word] : starts_P1[word + 1]]
        n = _load(word_B, keys_T, values_T2, symbols_L, ranks_L, results_L)
        size = 0
        while size < len(n_merges_S):
            at = _lowest(ranks_L, n)
            while size < len(n_merges_S) and ranks_L[at] >= n_merges_S[size]:
                totals_S[size] += n * counts_P[word]
                size += 1
            if size < len(n_merges_S):
                n = _merge(at, n, keys_T, values_T2, symbols_L, ranks_L, results_L)


@njit(cache=True, nogil=True)
@no_type_check
def _key(left, right):
    return (np.int64(left) << 32) | np.int64(right)


@njit(cache=True, nogil=True)
@no_type_check
def _slot(keys_T, key):
    """Where a key is, or the free place where it would go."""
    mask = len(keys_T) - 1
    slot = np.int64((np.uint64(key) * _MIX) >> np.uint64(32)) & mask
    while keys_T[slot] != -1 and keys_T[slot] != key:
        slot = (slot + 1) & mask
    return slot


@njit(cache=True, nogil=True)
@no_type_check
def _room_for(starts_P1):
    """Symbols of one word, and rank and result of the pair that starts at each of them."""
    longest = 1
    for word in range(len(starts_P1) - 1):
        longest = max(longest, starts_P1[word + 1] - starts_P1[word])
    room = np.empty((3, longest), dtype=np.int32)
    return room[0], room[1], room[2]


@njit(cache=True, nogil=True)
@no_type_check
def _load(word_B, keys_T, values_T2, symbols_L, ranks_L, results_L):
    """Write a word's ids and its pairs' ranks; return the number of ids."""
    n = 0
    for token_id in word_B:
        if token_id >= 0:
            symbols_L[n] = token_id
            n += 1
    # The last symbol starts no pair, and an empty word is asked for its lowest rank all the same.
    ranks_L[max(n - 1, 0)] = _NO_RANK
    for i in range(n - 1):
        _look_up(i, keys_T, values_T2, symbols_L, ranks_L, results_L)
    return n


@njit(cache=True, nogil=True)
@no_type_check
def _look_up(i, keys_T, values_T2, symbols_L, ranks_L, results_L):
    slot = _slot(keys_T, _key(symbols_L[i], symbols_L[i + 1]))
    if keys_T[slot] == -1:
        ranks_L[i] = _NO_RANK
    else:
        ranks_L[i] = values_T2[slot, 0]
        results_L[i] = values_T2[slot, 1]


@njit(cache=True, nogil=True)
@no_type_check
def _lowest(ranks_L, n):
    """The leftmost of the lowest ranks."""
    at = 0
    for i in range(1, n):
        if ranks_L[i] < ranks_L[at]:
            at = i
    return at


@njit(cache=True, nogil=True)
@no_type_check
def _merge(at, n, keys_T, values_T2, symbols_L, ranks_L, results_L):
    """Join the pair that starts at ``at``; return the new number of symbols."""
    symbols_L[at] = results_L[at]
    for i in range(at + 1, n - 1):
        symbols_L[i] = symbols_L[i + 1]
        ranks_L[i] = ranks_L[i + 1]
        results_L[i] = results_L[i + 1]
    n -= 1
    if at == n - 1:
        ranks_L[at] = _NO_RANK
    else:
        _look_up(at, keys_T, values_T2, symbols_L, ranks_L, results_L)
    if at > 0:
        _look_up(at - 1, keys_T, values_T2, symbols_L, ranks_L, results_L)
    return n
