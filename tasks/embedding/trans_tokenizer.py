"""Rows of the old tokens that translate a token, by links in parallel text.

Linked words share their count out among their tokens: half of it by all old tokens of the word
alike, half by those at the like place. A token's row is the mean of the old rows, weighted by
these counts.
Source: Trans-Tokenization (Remy et al. 2024, section 3). There numbers and equal strings are
added as links; here tokens that both vocabularies have keep their row before any method. Where
relatives stand in for a token without counts, the published code doubles translations that start a
word; here all weigh alike.

Dimensions: V = old vocabulary, W = new vocabulary, K = tokens that need rows.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int64
from scipy.sparse import csr_array, diags_array

from tasks.embedding.pieces import Pieces
from tasks.embedding.row_weights import RowWeights
from tasks.embedding.word_alignment import Links


def token_counts(
    links: Links, old: Pieces, new: Pieces, min_count: float, n_old: int, n_new: int
) -> csr_array:
    """Share links of units out among their tokens.

    Args:
        links: from source units to target units.
        old: old tokens of each source unit.
        new: new tokens of each target unit.
        min_count: pass over links of less.
        n_old: size of the old vocabulary.
        n_new: size of the new vocabulary.

    Returns:
        W x V counts; each new token of a target unit gets the link's whole count.
    """
    kept = links.counts >= min_count
    sources, targets, counts = links.sources[kept], links.targets[kept], links.counts[kept]
    n_olds, n_news = old.lengths[sources], new.lengths[targets]
    link = np.repeat(np.arange(len(counts)), n_olds * n_news)
    starts = np.append(0, np.cumsum(n_olds * n_news))[:-1]
    at = np.arange(len(link)) - starts[link]
    n_old_tokens, n_new_tokens = n_olds[link], n_news[link]
    i, j = at // n_old_tokens, at % n_old_tokens
    # New token i covers n_old_tokens parts of the word's n_old_tokens * n_new_tokens.
    low = np.maximum(i * n_old_tokens, j * n_new_tokens)
    high = np.minimum((i + 1) * n_old_tokens, (j + 1) * n_new_tokens)
    overlap = np.maximum(high - low, 0) / n_old_tokens
    shares = counts[link] * (1.0 / n_old_tokens + overlap) / 2
    rows = new.ids[new.offsets[targets[link]] + i]
    columns = old.ids[old.offsets[sources[link]] + j]
    return csr_array((shares, (rows, columns)), shape=(n_new, n_old))


def translation_weights(
    counts_WV: csr_array,
    needed_K: Int64[np.ndarray, " K"],
    token_bytes: Sequence[bytes | None],
    smooth_unseen: bool,
) -> RowWeights:
    """Divide counts by their sum for each token that needs a row.

    Args:
        counts_WV: of every new token, also of those that need no row.
        needed_K: ids of the new tokens that do.
        token_bytes: bytes of each new token.
        smooth_unseen: give a token without counts the mean of its relatives' weights: tokens
            that begin with it, and the longest ones within it.

    Returns:
        Weights that sum to one, and none for a token without counts and relatives.
    """
    totals_W = np.asarray(counts_WV.sum(axis=1)).ravel()
    seen_W = totals_W > 0
    shares_WV = diags_array(np.divide(1.0, totals_W, out=np.zeros_like(totals_W), where=seen_W))
    weights_WV = shares_WV @ counts_WV
    relatives = [[token] if seen_W[token] else [] for token in needed_K.tolist()]
    if smooth_unseen:
        family = _Relatives(token_bytes, seen_W.tolist())
        for k in np.flatnonzero(~seen_W[needed_K]).tolist():
            relatives[k] = list(family.of(token_bytes[int(needed_K[k])] or b""))
    table = Pieces.from_lists(relatives)
    means = np.repeat(1.0 / np.maximum(table.lengths, 1), table.lengths)
    shape = (len(needed_K), len(token_bytes))
    weights_KV = csr_array(csr_array((means, table.ids, table.offsets), shape=shape) @ weights_WV)
    weights_KV.sum_duplicates()
    return RowWeights(
        weights_KV.indices.astype(np.int32),
        weights_KV.data.astype(np.float32),
        weights_KV.indptr.astype(np.int64),
    )


class _Relatives:
    """Finds tokens that have counts by their bytes."""

    def __init__(self, token_bytes: Sequence[bytes | None], seen: Sequence[bool]):
        self.ids = {b: i for i, b in enumerate(token_bytes) if b and seen[i]}
        self.sorted = sorted(self.ids)

    def of(self, token: bytes) -> Iterator[int]:
        """Tokens that begin with it, then the longest within it; none for no bytes."""
        if not token:
            return
        for longer in self.sorted[bisect_left(self.sorted, token) :]:
            if not longer.startswith(token):
                break
            yield self.ids[longer]
        yield from dict.fromkeys(self._within(token))

    def _within(self, token: bytes) -> Iterator[int]:
        """The longest from each place, unless one from an earlier place reaches as far."""
        reach = 0
        for start in range(len(token)):
            for end in range(len(token), max(reach, start), -1):
                if (part := token[start:end]) in self.ids:
                    reach = end
                    yield self.ids[part]
                    break
