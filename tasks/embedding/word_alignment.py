"""Which source units a target unit translates, learnt from sentence pairs.

Model 1 of Brown et al. (1993) with a prior for like places in both sentences, by expectation
maximisation: fast_align's model (Dyer, Chahuneau and Smith 2013, section 2) with a fixed tension
and without its Dirichlet prior. A unit is a word or a token, given as an id.

Dimensions: P = distinct pairs of units of one sentence pair, T = target units.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int32, Int64

from tasks.embedding.alignment_kernels import expect, write_pairs
from tasks.embedding.pieces import Pieces
from tasks.shared.errors import InputError

BLOCK_PAIRS = 2**22
CACHED_PLACES = 2**26
"""Places whose pair is looked up once and not once a round: 4 bytes each."""


class ParallelTextError(InputError):
    """Parallel text does not pair up, or is more than memory allows."""


@dataclass(frozen=True)
class Links:
    """How often pairs of units are expected to be linked; links to nothing are left out."""

    targets: Int32[np.ndarray, " P"]
    sources: Int32[np.ndarray, " P"]
    counts: Float64[np.ndarray, " P"]
    log_likelihoods: tuple[float, ...]
    """Of the target text, one a round; never falling."""


def align(
    source: Pieces,
    target: Pieces,
    n_sources: int,
    n_targets: int,
    n_iterations: int,
    tension: float,
    null_probability: float,
    max_pairs: int,
) -> Links:
    """Learn links from sentence pairs.

    Args:
        source: source units of each sentence.
        target: target units of each sentence, in the same order.
        n_sources: number of source units, above all ids.
        n_targets: number of target units.
        n_iterations: rounds of expectation maximisation; links are those expected in the last.
        tension: how strongly like places are preferred, 0 not at all.
        null_probability: share of target units that translate nothing.
        max_pairs: bound on the pairs held at once.

    Raises:
        ParallelTextError: the two differ in their number of sentences, hold none, or there are
            more pairs than ``max_pairs``.
    """
    if len(source) != len(target) or not len(source):
        raise ParallelTextError(
            f"there are {len(source)} source and {len(target)} target sentences; give text whose "
            "lines are translations of each other."
        )
    keys = _distinct_pairs(source, target, n_sources, max_pairs)
    targets = (keys // (n_sources + 1)).astype(np.int32)
    sources = (keys % (n_sources + 1)).astype(np.int32)
    row_starts = np.searchsorted(targets, np.arange(n_targets + 1)).astype(np.int64)
    probabilities = np.full(len(keys), 1 / n_targets)
    counts, log_likelihoods = np.zeros(len(keys)), list[float]()
    n_places = int((source.lengths * target.lengths).sum())
    places = np.empty(min(n_places, CACHED_PLACES), np.int32)
    for done in range(n_iterations):
        counts[:] = 0
        texts = (source.ids, source.offsets, target.ids, target.offsets)
        table = (row_starts, sources, probabilities)
        prior = (tension, null_probability)
        log_likelihoods.append(float(expect(*texts, *table, *prior, places, done > 0, counts)))
        totals = np.bincount(sources, counts, minlength=n_sources + 1)
        np.divide(counts, totals[sources], out=probabilities, where=counts > 0)
        probabilities[counts == 0] = 0
    real = (sources < n_sources) & (counts > 0)
    return Links(targets[real], sources[real], counts[real], tuple(log_likelihoods))


def _distinct_pairs(
    source: Pieces, target: Pieces, n_sources: int, max_pairs: int
) -> Int64[np.ndarray, " P"]:
    """Sorted keys of the pairs that some sentence pair has, block by block."""
    sizes = np.cumsum((source.lengths + 1) * target.lengths)
    merged, pending = np.zeros(0, np.int64), list[np.ndarray]()
    first = 0
    while first < len(source):
        before = sizes[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(sizes, before + BLOCK_PAIRS, side="right")))
        keys = np.empty(sizes[last - 1] - before, np.int64)
        texts = (source.ids, source.offsets, target.ids, target.offsets)
        write_pairs(*texts, first, last, n_sources, keys)
        pending.append(_distinct(keys))
        first = last
        # Merged only when as much is waiting, so that each key is sorted few times.
        if first == len(source) or sum(map(len, pending)) > len(merged):
            merged, pending = _distinct(np.concatenate([merged, *pending])), []
        if len(merged) > max_pairs:
            raise ParallelTextError(
                f"{first} of {len(source)} sentence pairs have {len(merged)} distinct pairs of "
                f"units, above max_pairs ({max_pairs}); give fewer lines, or raise it."
            )
    return merged


def _distinct(keys: Int64[np.ndarray, " N"]) -> Int64[np.ndarray, " P"]:
    """Sorted, each once; numpy's unique takes ten times as long here."""
    keys.sort()
    return keys[np.append(True, keys[1:] != keys[:-1])] if len(keys) else keys
