"""Rows for new tokens as sparse means of the rows of shared tokens that are used alike.

Vectors of all new tokens are learnt from text cut by the new tokenizer. A new token's weights are
the sparsemax of its cosines to the tokens both vocabularies have.
Source: FOCUS (Dobler and de Melo 2023, section 3). A token without a vector gets nothing here,
where the paper draws it at random.

Dimensions: W = new vocabulary, K = tokens that need rows, A = width of the vectors.
"""

import numpy as np
from jaxtyping import Float32, Int32, Int64

from tasks.embedding.row_weights import RowWeights
from tasks.embedding.sparsemax import sparsemax
from tasks.shared.errors import InputError

BLOCK_BYTES = 1 << 26
"""Memory for one block of cosines; partial sorting takes about three times as much beside it."""


class NoSharedTokensError(InputError):
    """No token of both vocabularies has a vector, so nothing can be compared with anything."""


def focus_weights(
    vectors_WA: Float32[np.ndarray, "W A"],
    match_W: Int32[np.ndarray, " W"],
    tokens_K: Int64[np.ndarray, " K"],
    block_bytes: int = BLOCK_BYTES,
) -> RowWeights:
    """Weigh the rows of shared tokens for each token that needs a row.

    Args:
        vectors_WA: of ``train_token_vectors``, zero for a token without one.
        match_W: old id of the same token, negative where the source has none.
        tokens_K: new ids of the tokens that need rows.
        block_bytes: of the cosines held at a time.

    Returns:
        Weights of old rows, at least 0 and with sum 1; none for a token without a vector.

    Raises:
        NoSharedTokensError: no shared token has a vector.
    """
    unit_WA, has_vector_W = _unit(vectors_WA)
    anchors_N = np.flatnonzero((match_W >= 0) & has_vector_W)
    if not len(anchors_N):
        raise NoSharedTokensError(
            f"of {int((match_W >= 0).sum())} tokens that both vocabularies have, none is among the "
            f"{int(has_vector_W.sum())} that got a vector from the text; give more text, lower "
            "min_count, or use initialiser method mean_of_pieces."
        )
    old_ids_N = match_W[anchors_N]
    anchors_AN = np.ascontiguousarray(unit_WA[anchors_N].T)
    lengths_K = np.zeros(len(tokens_K), np.int64)
    ids, weights = [np.zeros(0, np.int32)], [np.zeros(0, np.float32)]
    with_vector = np.flatnonzero(has_vector_W[tokens_K])
    n_block = max(block_bytes // (4 * len(anchors_N)), 1)
    for start in range(0, len(with_vector), n_block):
        block = with_vector[start : start + n_block]
        columns_BC, weights_BC = sparsemax(unit_WA[tokens_K[block]] @ anchors_AN)
        kept_BC = weights_BC > 0
        lengths_K[block] = kept_BC.sum(axis=1)
        ids.append(old_ids_N[columns_BC[kept_BC]])
        weights.append(weights_BC[kept_BC])
    offsets = np.append(0, np.cumsum(lengths_K)).astype(np.int64)
    return RowWeights(np.concatenate(ids), np.concatenate(weights), offsets)


def _unit(vectors_WA: Float32[np.ndarray, "W A"]) -> tuple[np.ndarray, np.ndarray]:
    """Bring vectors to length 1, and mark those that have a length."""
    norms_W = np.linalg.norm(vectors_WA.astype(np.float64), axis=1)
    divisor_W = np.where(norms_W > 0, norms_W, 1.0)
    return (vectors_WA / divisor_W[:, None]).astype(np.float32), norms_W > 0
