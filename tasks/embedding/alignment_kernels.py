"""Expectation of word alignment over sentence pairs, compiled."""

from typing import no_type_check

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
@no_type_check
def write_pairs(source, source_starts, target, target_starts, first, last, n_sources, out):
    """Write target * (n_sources + 1) + source for all pairs of some sentences, null included.

    Returns:
        How many were written.
    """
    n = 0
    for sentence in range(first, last):
        for j in range(target_starts[sentence], target_starts[sentence + 1]):
            base = np.int64(target[j]) * (n_sources + 1)
            for i in range(source_starts[sentence], source_starts[sentence + 1]):
                out[n] = base + source[i]
                n += 1
            out[n] = base + n_sources
            n += 1
    return n


@njit(cache=True, nogil=True)
@no_type_check
def expect(
    source,
    source_starts,
    target,
    target_starts,
    row_starts,
    row_sources,
    probabilities,
    tension,
    null_probability,
    places,
    places_known,
    counts,
):
    """Add up how often each pair is linked, given what sources become so far.

    Args:
        source: int32, source units of all sentences.
        source_starts: int64, where each sentence starts in it.
        target: int32, the same of target units.
        target_starts: int64, where each sentence starts in it.
        row_starts: int64, where the pairs of each target unit start.
        row_sources: int32, source unit of each pair, rising within a target unit; the last is null.
        probabilities: float64, of the target unit given the source unit, by pair.
        tension: how strongly like places are preferred.
        null_probability: of a target unit that translates nothing.
        places: int32, the pair of each place in the text, as far as there is room: a cache.
        places_known: whether an earlier call has filled it.
        counts: float64, added to, by pair.

    Returns:
        Log likelihood of the target text.
    """
    longest = np.int64(0)
    for sentence in range(len(source_starts) - 1):
        longest = max(longest, source_starts[sentence + 1] - source_starts[sentence])
    share = np.zeros(longest + 1, np.float64)
    place = np.zeros(longest + 1, np.int64)
    total_log = 0.0
    at = np.int64(0)
    for sentence in range(len(source_starts) - 1):
        start = source_starts[sentence]
        n = source_starts[sentence + 1] - start
        m = target_starts[sentence + 1] - target_starts[sentence]
        if n == 0:
            continue
        decay = np.exp(-tension / n)
        for j in range(m):
            unit = target[target_starts[sentence] + j]
            low, high = row_starts[unit], row_starts[unit + 1]
            norm = _prefer_like_places(share, n, m, j, tension, decay)
            total = 0.0
            for i in range(n):
                if places_known and at < len(places):
                    place[i] = places[at]
                else:
                    place[i] = _find(row_sources, low, high, source[start + i])
                    if at < len(places):
                        places[at] = place[i]
                at += 1
                share[i] *= (1.0 - null_probability) / norm * probabilities[place[i]]
                total += share[i]
            place[n] = high - 1
            share[n] = null_probability * probabilities[high - 1]
            total += share[n]
            if total <= 0.0:
                continue
            total_log += np.log(total)
            for i in range(n + 1):
                counts[place[i]] += share[i] / total
    return total_log


@njit(cache=True, nogil=True)
@no_type_check
def _prefer_like_places(share, n, m, j, tension, decay):
    """Write exp(-tension * |(i + 1) / n - (j + 1) / m|) for all i and return their sum.

    From the place that is like j's, each step away multiplies by ``decay``.
    """
    middle = min(((j + 1) * n) // m, n)
    total = 0.0
    value = np.exp(-tension * ((j + 1) / m - middle / n)) if middle else 0.0
    for i in range(middle - 1, -1, -1):
        share[i] = value
        total += value
        value *= decay
    value = np.exp(-tension * ((middle + 1) / n - (j + 1) / m))
    for i in range(middle, n):
        share[i] = value
        total += value
        value *= decay
    return total


@njit(cache=True, nogil=True)
@no_type_check
def _find(values, low, high, wanted):
    """Place of a value that is there, by bisection."""
    while high - low > 1:
        middle = (low + high) // 2
        if values[middle] <= wanted:
            low = middle
        else:
            high = middle
    return low
