"""Rows for new tokens as the mean of old rows.

A new token is cut by the OLD tokenizer; its row is the mean of those pieces' rows. A token the
old vocabulary has is cut into itself and keeps its row bit for bit.
Sources: Fast Vocabulary Transfer (Gee et al. 2022), on bytes instead of strings, which also has
weights by length; exponential weights, mirrored for the head: AdaptiVocab (Nakash et al. 2025).
Geometric weights of the head follow from what it predicts: the first piece decides whether the
token begins here at all.

Dimensions: V = old vocabulary, W = new vocabulary, D = model width, P = all pieces.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64, Int64

from tasks.embedding.pieces import Pieces
from tasks.embedding.row_weights import RowWeights
from tasks.shared.vocabulary import UncoverableTokenError

Weighting = Literal["uniform", "by_length", "geometric", "exponential"]


def piece_weights(
    pieces: Pieces, weighting: Weighting, n_bytes_V: Int64[np.ndarray, " V"]
) -> tuple[RowWeights, RowWeights]:
    """Weigh the pieces of each token, for its input row and for its head row; each sums to 1.

    Args:
        pieces: old ids of each token; a token without pieces has no weights.
        weighting: by what.
        n_bytes_V: length of each old token in bytes.
    """
    lengths_W = pieces.lengths
    position_P = np.arange(len(pieces.ids)) - np.repeat(pieces.offsets[:-1], lengths_W)
    after_P = np.repeat(lengths_W, lengths_W) - 1 - position_P
    same_P = np.ones(len(pieces.ids))
    match weighting:
        case "uniform":
            input_P = head_P = same_P
        case "by_length":
            # A special token inside a piece list has no bytes and still counts as something.
            input_P = head_P = np.maximum(n_bytes_V[pieces.ids], 1).astype(np.float64)
        case "geometric":
            input_P, head_P = same_P, np.exp2(-position_P)
        case "exponential":
            input_P, head_P = np.exp(-2.0 * after_P), np.exp(-2.0 * position_P)
    of_input = _normalised(pieces, input_P)
    return of_input, of_input if head_P is input_P else _normalised(pieces, head_P)


def _normalised(pieces: Pieces, raw_P: Float64[np.ndarray, " P"]) -> RowWeights:
    token_P = np.repeat(np.arange(len(pieces)), pieces.lengths)
    total_W = np.bincount(token_P, weights=raw_P, minlength=len(pieces))
    return RowWeights(pieces.ids, (raw_P / total_W[token_P]).astype(np.float32), pieces.offsets)


def uniform_weights(pieces: Pieces) -> RowWeights:
    """Weigh all pieces of a token alike."""
    return _normalised(pieces, np.ones(len(pieces.ids)))


def mean_of_pieces(
    source_VD: Float32[np.ndarray, "V D"], pieces: Pieces
) -> Float32[np.ndarray, "W D"]:
    """Give each token the mean of its pieces' rows, accumulated in float32.

    Args:
        source_VD: old rows (a head bias is a matrix of one column).
        pieces: old ids of each token, none empty.

    Raises:
        UncoverableTokenError: a token has no piece.
    """
    empty = np.flatnonzero(pieces.lengths == 0)
    if len(empty):
        raise UncoverableTokenError(
            f"{len(empty)} of {len(pieces)} new tokens have no old pieces (first: "
            f"{empty[:5].tolist()}): the old tokenizer has no token for their bytes; let the "
            "embedding stage's fallback end with mean, or leave these tokens out."
        )
    return uniform_weights(pieces).rows(source_VD)
