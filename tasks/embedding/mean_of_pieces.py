"""Rows for new tokens as the mean of old rows.

A new token is cut by the OLD tokenizer; its row is the mean of those pieces' rows. A token the
old vocabulary has is cut into itself and keeps its row bit for bit.
Source: Fast Vocabulary Transfer (Gee et al. 2022), on bytes instead of strings.

Dimensions: V = old vocabulary, W = new vocabulary, D = model width, P = all pieces.
"""

import numpy as np
from jaxtyping import Float32
from scipy.sparse import csr_array

from tasks.embedding.pieces import Pieces
from tasks.shared.vocabulary import UncoverableTokenError


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
    lengths_W = pieces.lengths
    empty = np.flatnonzero(lengths_W == 0)
    if len(empty):
        raise UncoverableTokenError(
            f"{len(empty)} of {len(pieces)} new tokens have no old pieces (first: "
            f"{empty[:5].tolist()}): the old tokenizer has no token for their bytes; set the "
            "embedding stage's fallback to 'mean', or leave these tokens out."
        )
    weights_P = np.repeat((1.0 / lengths_W).astype(np.float32), lengths_W)
    shape = (len(pieces), len(source_VD))
    mean_WD = csr_array((weights_P, pieces.ids, pieces.offsets), shape=shape) @ source_VD
    # 0 + x loses the sign of a negative zero, so single pieces are copied, not averaged.
    single_W = lengths_W == 1
    mean_WD[single_W] = source_VD[pieces.first()[single_W]]
    return mean_WD
