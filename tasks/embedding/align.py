"""Rows for new tokens from the old tokens that stand in their place in text.

Wherever a new token occurs, the old tokenizer has some tokens over the same bytes. The new row is
the mean over occurrences of the mean of those tokens' rows, so a token that the old tokenizer cuts
in several ways takes each way as often as it is taken.
Source: Yamaguchi et al. 2024 (vocabulary expansion with little text), method Align. Its sum over
distinct tuples of old tokens, each by its share, is this mean over occurrences.

Dimensions: V = old vocabulary, W = new vocabulary, K = tokens that need rows, N, M = old and new
tokens of a document, O = occurrences, Q = old tokens under all of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt64
from scipy.sparse import coo_array, csr_array

from tasks.embedding.pieces import Pieces
from tasks.embedding.row_weights import RowWeights
from tasks.embedding.two_cuts import different_text_error, spell_the_same

HELD_ENTRIES = 1 << 22
"""Old tokens under occurrences that are held before they are summed up."""
_BASE = np.uint64(0x9E3779B97F4A7C15)
_SPREAD = np.uint64(0xD6E8FEB86659FD93)
"""Odd numbers of many bits, so that products differ in all of theirs."""


def align_weights(
    documents: Iterable[tuple[np.ndarray, np.ndarray]],
    old_lengths_V: Int64[np.ndarray, " V"],
    new_lengths_W: Int64[np.ndarray, " W"],
    tokens_K: Int64[np.ndarray, " K"],
    pieces: Pieces | None = None,
    held_entries: int = HELD_ENTRIES,
) -> RowWeights:
    """Weigh old rows by how often they stand where a new token does.

    Args:
        documents: arrays of old ids and of new ids of each document, without special tokens.
        old_lengths_V: bytes of each old token.
        new_lengths_W: bytes of each new token.
        tokens_K: new ids of the tokens that need rows.
        pieces: old pieces of these tokens, to count as one more tuple of each, as often as the
            token's most frequent one; None leaves them out.
        held_entries: bounds memory, and changes nothing else.

    Returns:
        Weights of old rows, at least 0 and with sum 1; none for a token that never occurs.

    Raises:
        DifferentTextError: there are documents, but none that both spell with the same bytes.
    """
    slot_W = np.full(len(new_lengths_W), -1, np.int64)
    slot_W[tokens_K] = np.arange(len(tokens_K))
    sums = _Sums(len(tokens_K), len(old_lengths_V), counts_tuples=pieces is not None)
    n_read = n_same = 0
    for old_ids, new_ids in documents:
        old_N, new_M = old_ids.astype(np.int64), new_ids.astype(np.int64)
        lengths_N, lengths_M = old_lengths_V[old_N], new_lengths_W[new_M]
        n_read += 1
        if not spell_the_same(lengths_N, lengths_M):
            continue
        n_same += 1
        sums.add(old_N, lengths_N, slot_W[new_M], lengths_M)
        if sums.n_held > held_entries:
            sums.settle()
    if n_read and not n_same:
        raise different_text_error(n_read)
    sums.settle()
    total_KV, counts_K = sums.total_KV, sums.counts_K.astype(np.float64)
    if pieces is not None:
        most_K = sums.most_frequent()
        shares_P = np.repeat(most_K / np.maximum(pieces.lengths, 1), pieces.lengths)
        total_KV = total_KV + csr_array((shares_P, pieces.ids, pieces.offsets), total_KV.shape)
        counts_K += np.where(pieces.lengths > 0, most_K, 0)
    total_KV.eliminate_zeros()
    lengths_K = np.diff(total_KV.indptr)
    weights = total_KV.data / np.repeat(counts_K, lengths_K)
    return RowWeights(
        total_KV.indices.astype(np.int32),
        weights.astype(np.float32),
        total_KV.indptr.astype(np.int64),
    )


@dataclass
class _Held:
    """What occurrences of some documents add, not yet summed up."""

    slots_Q: list[np.ndarray]
    ids_Q: list[np.ndarray]
    shares_Q: list[np.ndarray]
    tuples_O: list[np.ndarray]


class _Sums:
    """Shares of old tokens in each new one, and how often each tuple of old ones came."""

    def __init__(self, n_tokens: int, n_old: int, *, counts_tuples: bool) -> None:
        self.total_KV = csr_array((n_tokens, n_old), dtype=np.float64)
        self.counts_K = np.zeros(n_tokens, np.int64)
        self.n_held = 0
        self._counts_tuples = counts_tuples
        self._held = _Held([], [], [], [])
        self._tuples = (np.zeros((0, 2), np.uint64), np.zeros(0, np.int64))

    def add(
        self,
        old_N: Int64[np.ndarray, " N"],
        lengths_N: Int64[np.ndarray, " N"],
        slots_M: Int64[np.ndarray, " M"],
        lengths_M: Int64[np.ndarray, " M"],
    ) -> None:
        """Add one document; ``slots_M`` are negative for tokens that need no row."""
        wanted_M = (slots_M >= 0) & (lengths_M > 0)
        slots_O = slots_M[wanted_M]
        old_ends_N = np.cumsum(lengths_N) - lengths_N.sum()
        new_ends_O = (np.cumsum(lengths_M) - lengths_M.sum())[wanted_M]
        new_starts_O = new_ends_O - lengths_M[wanted_M]
        first_O = np.searchsorted(old_ends_N, new_starts_O, side="right")
        behind_O = np.searchsorted(old_ends_N - lengths_N, new_ends_O, side="left")
        n_under_O = behind_O - first_O
        within_Q = np.arange(n_under_O.sum()) - np.repeat(np.cumsum(n_under_O) - n_under_O, n_under_O)
        ids_Q = old_N[np.repeat(first_O, n_under_O) + within_Q]
        self.counts_K += np.bincount(slots_O[n_under_O > 0], minlength=len(self.counts_K))
        self._held.slots_Q.append(np.repeat(slots_O, n_under_O))
        self._held.ids_Q.append(ids_Q)
        self._held.shares_Q.append(np.repeat(1.0 / np.maximum(n_under_O, 1), n_under_O))
        self.n_held += len(ids_Q)
        if self._counts_tuples:
            mixed_Q = (ids_Q.astype(np.uint64) + np.uint64(1)) * _powers(within_Q)
            sums = np.append(np.uint64(0), np.cumsum(mixed_Q, dtype=np.uint64))
            ends_O = np.cumsum(n_under_O)
            names_O = sums[ends_O] - sums[ends_O - n_under_O]
            self._held.tuples_O.append(np.column_stack([slots_O.astype(np.uint64), names_O]))

    def settle(self) -> None:
        """Sum up what is held."""
        if not self._held.ids_Q:
            return
        slots_Q, ids_Q, shares_Q = (
            np.concatenate(parts)
            for parts in (self._held.slots_Q, self._held.ids_Q, self._held.shares_Q)
        )
        added_KV = coo_array((shares_Q, (slots_Q, ids_Q)), shape=self.total_KV.shape).tocsr()
        self.total_KV = csr_array(self.total_KV + added_KV)
        if self._counts_tuples:
            names, counts = self._tuples
            both = np.concatenate([names, *self._held.tuples_O])
            every = np.append(counts, np.ones(len(both) - len(counts), np.int64))
            names, inverse = np.unique(both, axis=0, return_inverse=True)
            self._tuples = (names, np.bincount(inverse, every).astype(np.int64))
        self._held, self.n_held = _Held([], [], [], []), 0

    def most_frequent(self) -> Int64[np.ndarray, " K"]:
        """Count the most frequent tuple of each token."""
        most_K = np.zeros(len(self.counts_K), np.int64)
        names, counts = self._tuples
        np.maximum.at(most_K, names[:, 0].astype(np.int64), counts)
        return most_K


def _powers(exponents_Q: Int64[np.ndarray, " Q"]) -> UInt64[np.ndarray, " Q"]:
    """Powers of an odd number modulo 2**64, which make a sum of ids depend on their order."""
    table = np.full(int(exponents_Q.max(initial=0)) + 1, _BASE, np.uint64)
    table[0] = _SPREAD
    return np.cumprod(table, dtype=np.uint64)[exponents_Q]
