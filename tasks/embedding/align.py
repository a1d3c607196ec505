"""Rows for new tokens from the old tokens that stand in their place in text.

Wherever a new token occurs, the old tokenizer has some tokens over the same bytes. The new row is
the mean over occurrences of the mean of those tokens' rows, so a token that the old tokenizer cuts
in several ways takes each way as often as it is taken.
Source: Yamaguchi et al. 2024 (vocabulary expansion with little text), method Align. Its sum over
distinct tuples of old tokens, each by its share, is this mean over occurrences.

Dimensions: V = old vocabulary, W = new vocabulary, K = tokens that need rows, P = pieces of
all of them.
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Int64
from scipy.sparse import csr_array

from tasks.embedding.pieces import Pieces
from tasks.embedding.row_weights import RowWeights
from tasks.embedding.span_sums import SpanSums
from tasks.embedding.two_cuts import Spelling, are_one_text, different_text_error

HELD_ENTRIES = 1 << 22
"""Old tokens under occurrences that are held before they are summed up."""


def align_weights(
    documents: Iterable[tuple[np.ndarray, np.ndarray]],
    old: Spelling,
    new: Spelling,
    tokens_K: Int64[np.ndarray, " K"],
    pieces: Pieces | None = None,
    held_entries: int = HELD_ENTRIES,
) -> tuple[RowWeights, int]:
    """Weigh old rows by how often they stand where a new token does.

    Args:
        documents: arrays of old ids and of new ids of each document, without special tokens.
        old: what each old token spells.
        new: what each new token spells.
        tokens_K: new ids of the tokens that need rows.
        pieces: old pieces of these tokens, to count as one more tuple of each, as often as the
            token's most frequent one; None leaves them out.
        held_entries: bounds memory, and changes nothing else.

    Returns:
        Weights of old rows, at least 0 and with sum 1, none for a token that never occurs; and how
        many documents were passed over, as the two spell them differently.

    Raises:
        DifferentTextError: there are documents, but none that both spell with the same bytes.
    """
    slot_W = np.full(len(new.lengths), -1, np.int64)
    slot_W[tokens_K] = np.arange(len(tokens_K))
    sums = SpanSums(len(tokens_K), len(old.lengths), counts_tuples=pieces is not None)
    n_read = n_same = 0
    for old_ids, new_ids in documents:
        old_N, new_M = old_ids.astype(np.int64), new_ids.astype(np.int64)
        n_read += 1
        if not are_one_text(old.text(old_N), new.text(new_M)):
            continue
        n_same += 1
        sums.add(old_N, old.lengths[old_N], slot_W[new_M], new.lengths[new_M])
        if sums.n_held > held_entries:
            sums.settle()
    if n_read and not n_same:
        raise different_text_error(n_read)
    sums.settle()
    total_KV, counts_K = sums.total_KV, sums.counts_K.astype(np.float64)
    if pieces is not None:
        most_K = sums.most_frequent()
        shares_P = np.repeat(most_K / np.maximum(pieces.lengths, 1), pieces.lengths)
        added_KV = csr_array((shares_P, pieces.ids, pieces.offsets), shape=total_KV.shape)
        total_KV = csr_array(total_KV + added_KV)
        counts_K += np.where(pieces.lengths > 0, most_K, 0)
    total_KV.eliminate_zeros()
    lengths_K = np.diff(total_KV.indptr)
    weights = total_KV.data / np.repeat(counts_K, lengths_K)
    made = RowWeights(
        total_KV.indices.astype(np.int32),
        weights.astype(np.float32),
        total_KV.indptr.astype(np.int64),
    )
    return made, n_read - n_same
