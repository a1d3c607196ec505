"""Sums over the old tokens that lie under new ones, kept small while documents stream by.

Dimensions: K = new tokens, V = old vocabulary, N, M = old and new tokens of a document,
O = occurrences of the K tokens, Q = old tokens under all of them.
"""

import numpy as np
from jaxtyping import Int64, UInt64
from scipy.sparse import coo_array, csr_array

_BASE = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xD6E8FEB86659FD93)
"""Odd numbers of many bits, so that products differ in all of theirs."""


class SpanSums:
    """Shares of old tokens in each new one, and how often each tuple of old ones came.

    Attributes:
        total_KV: sum over occurrences of 1 / (old tokens under it), for each of them.
        counts_K: occurrences with old tokens under them.
        n_held: entries that wait for ``settle``.
    """

    def __init__(self, n_tokens: int, n_old: int, *, counts_tuples: bool) -> None:
        self.total_KV = csr_array((n_tokens, n_old), dtype=np.float64)
        self.counts_K = np.zeros(n_tokens, np.int64)
        self.n_held = 0
        self._counts_tuples = counts_tuples
        self._slots_Q: list[np.ndarray] = []
        self._ids_Q: list[np.ndarray] = []
        self._shares_Q: list[np.ndarray] = []
        self._tuples_O: list[np.ndarray] = []
        self._tuples = (np.zeros((0, 2), np.uint64), np.zeros(0, np.int64))

    def add(
        self,
        old_N: Int64[np.ndarray, " N"],
        lengths_N: Int64[np.ndarray, " N"],
        slots_M: Int64[np.ndarray, " M"],
        lengths_M: Int64[np.ndarray, " M"],
    ) -> None:
        """Add one document; ``slots_M`` are negative for tokens that need no row."""
        old_ends_N = np.cumsum(lengths_N) - lengths_N.sum()
        new_ends_M = np.cumsum(lengths_M) - lengths_M.sum()
        first_M = np.searchsorted(old_ends_N, new_ends_M - lengths_M, side="right")
        behind_M = np.searchsorted(old_ends_N - lengths_N, new_ends_M, side="left")
        wanted_M = (slots_M >= 0) & (behind_M > first_M)
        slots_O, first_O = slots_M[wanted_M], first_M[wanted_M]
        n_under_O = behind_M[wanted_M] - first_O
        ends_O = np.cumsum(n_under_O)
        within_Q = np.arange(n_under_O.sum()) - np.repeat(ends_O - n_under_O, n_under_O)
        ids_Q = old_N[np.repeat(first_O, n_under_O) + within_Q]
        self.counts_K += np.bincount(slots_O, minlength=len(self.counts_K))
        self._slots_Q.append(np.repeat(slots_O, n_under_O))
        self._ids_Q.append(ids_Q)
        self._shares_Q.append(np.repeat(1.0 / n_under_O, n_under_O))
        self.n_held += len(ids_Q)
        if self._counts_tuples:
            mixed_Q = (ids_Q.astype(np.uint64) + np.uint64(1)) * _powers(within_Q)
            sums = np.append(np.uint64(0), np.cumsum(mixed_Q, dtype=np.uint64))
            names_O = sums[ends_O] - sums[ends_O - n_under_O]
            self._tuples_O.append(np.column_stack([slots_O.astype(np.uint64), names_O]))

    def settle(self) -> None:
        """Sum up what is held."""
        if not self._ids_Q:
            return
        at = (np.concatenate(self._slots_Q), np.concatenate(self._ids_Q))
        added_KV = coo_array((np.concatenate(self._shares_Q), at), shape=self.total_KV.shape)
        self.total_KV = csr_array(self.total_KV + added_KV.tocsr())
        if self._counts_tuples:
            names, counts = self._tuples
            both = np.concatenate([names, *self._tuples_O])
            every = np.append(counts, np.ones(len(both) - len(counts), np.int64))
            names, inverse = np.unique(both, axis=0, return_inverse=True)
            self._tuples = (names, np.bincount(inverse, every).astype(np.int64))
        for held in (self._slots_Q, self._ids_Q, self._shares_Q, self._tuples_O):
            held.clear()
        self.n_held = 0

    def most_frequent(self) -> Int64[np.ndarray, " K"]:
        """Count the most frequent tuple of each token."""
        most_K = np.zeros(len(self.counts_K), np.int64)
        names, counts = self._tuples
        np.maximum.at(most_K, names[:, 0].astype(np.int64), counts)
        return most_K


def _powers(exponents_Q: Int64[np.ndarray, " Q"]) -> UInt64[np.ndarray, " Q"]:
    """Powers of an odd number modulo 2**64, which make a sum of ids depend on their order."""
    table = np.full(int(exponents_Q.max(initial=0)) + 1, _BASE, np.uint64)
    table[0] = _FIRST
    return np.cumprod(table, dtype=np.uint64)[exponents_Q]
