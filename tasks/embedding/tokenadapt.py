"""Rows from a token's own pieces and from old tokens of like meaning, by a text-embedding model.

Local: the mean of the token's pieces, weighted by how like the token each piece is and by its
share of the token's length. Global: the mean of the old tokens whose text means most alike. The
row is a mixture of both.
Source: TokenAdapt (Sharthak et al. 2025, section 3). It counts a piece's length in characters,
here it is in bytes, since a piece may be part of a character.

Dimensions: V = old vocabulary, K = tokens that need rows, S = width of the text embeddings,
P = all pieces, N = neighbours.
"""

import numpy as np
from jaxtyping import Float32, Float64, Int64
from scipy.sparse import csr_array, diags_array

from tasks.embedding.nearest_tokens import (
    BLOCK_BYTES,
    nearest_tokens,
    softmax_weights,
    unit_rows,
)
from tasks.embedding.pieces import Pieces
from tasks.embedding.row_weights import RowWeights

BLOCK_PIECES = 2**16


def tokenadapt(
    new_KS: Float32[np.ndarray, "K S"],
    old_VT: Float32[np.ndarray, "V T"],
    pieces: Pieces,
    old_bytes_V: Int64[np.ndarray, " V"],
    n_neighbours: int,
    global_share: float,
    temperature: float,
    block_bytes: int = BLOCK_BYTES,
) -> RowWeights:
    """Mix the pieces of each token with the old tokens most like it.

    Args:
        new_KS: embeddings of the new tokens' texts, zeros for a token without a text.
        old_VT: the same of the old tokens.
        pieces: old ids of each new token.
        old_bytes_V: length of each old token in bytes.
        n_neighbours: old tokens behind the global part.
        global_share: share of the global part, 0 to 1.
        temperature: of the softmax over pieces' scores and over similarities.
        block_bytes: bound on the similarities held at once.

    Returns:
        Weights that sum to one. A token without pieces is all global; one without a text gets
        none.

    Raises:
        VectorWidthError: the two kinds of vectors differ in width.
        TooFewNeighboursError: fewer old tokens have a text than ``n_neighbours``.
    """
    nearest = nearest_tokens(new_KS, old_VT, n_neighbours, block_bytes)
    unlike_KN = nearest.similarities <= 0
    nearest.similarities[unlike_KN] = -np.inf
    alike = softmax_weights(nearest, temperature)
    local_P = _piece_weights(new_KS, old_VT, pieces, old_bytes_V, temperature)
    has_text_K, has_pieces_K = new_KS.any(axis=1), pieces.lengths > 0
    share_K = np.where(has_pieces_K, global_share, 1.0) * alike.found
    rest_K = (1 - share_K) * has_text_K
    return _mixed(
        (share_K, alike), (rest_K, RowWeights(pieces.ids, local_P, pieces.offsets)), len(old_VT)
    )


def _piece_weights(
    new_KS: Float32[np.ndarray, "K S"],
    old_VT: Float32[np.ndarray, "V T"],
    pieces: Pieces,
    old_bytes_V: Int64[np.ndarray, " V"],
    temperature: float,
) -> Float32[np.ndarray, " P"]:
    """Softmax of the mean of each piece's likeness (a softmax itself) and its share of length."""
    token_P = np.repeat(np.arange(len(pieces)), pieces.lengths)
    new_KS, old_VT = unit_rows(new_KS), unit_rows(old_VT)
    likeness_P = np.zeros(len(token_P))
    for start in range(0, len(token_P), BLOCK_PIECES):
        part = slice(start, start + BLOCK_PIECES)
        pairs = (new_KS[token_P[part]], old_VT[pieces.ids[part]])
        likeness_P[part] = np.einsum("ps,ps->p", *pairs)
    lengths_P = old_bytes_V[pieces.ids].astype(np.float64)
    totals_K = np.bincount(token_P, lengths_P, minlength=len(pieces))
    score_P = (_softmax(likeness_P, token_P, len(pieces)) + lengths_P / totals_K[token_P]) / 2
    return _softmax(score_P / temperature, token_P, len(pieces)).astype(np.float32)


def _softmax(
    values_P: Float64[np.ndarray, " P"], token_P: Int64[np.ndarray, " P"], n_tokens: int
) -> Float64[np.ndarray, " P"]:
    """Softmax within each token."""
    highest_K = np.full(n_tokens, -np.inf)
    np.maximum.at(highest_K, token_P, values_P)
    powers_P = np.exp(values_P - highest_K[token_P])
    return powers_P / np.bincount(token_P, powers_P, minlength=n_tokens)[token_P]


def _mixed(
    first: tuple[Float64[np.ndarray, " K"], RowWeights],
    second: tuple[Float64[np.ndarray, " K"], RowWeights],
    n_old: int,
) -> RowWeights:
    """Add two kinds of weights, each times its token's share."""
    total = csr_array(_scaled(*first, n_old) + _scaled(*second, n_old))
    total.sum_duplicates()
    total.eliminate_zeros()
    return RowWeights(
        total.indices.astype(np.int32),
        total.data.astype(np.float32),
        total.indptr.astype(np.int64),
    )


def _scaled(share_K: Float64[np.ndarray, " K"], weights: RowWeights, n_old: int) -> csr_array:
    shape = (len(weights), n_old)
    made_KV = csr_array((weights.weights, weights.ids, weights.offsets), shape=shape)
    return csr_array(diags_array(share_K) @ made_KV)
