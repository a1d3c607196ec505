"""Rows of the old tokens whose meaning is nearest, by word vectors of both languages.

Word vectors of the source language are turned into the space of the target language's; tokens of
both vocabularies get vectors there; a new token's row is the mean of the rows of its nearest old
tokens, weighted by a softmax of the cosines.
Source: WECHSEL (Minixhofer, Paischer and Rekabsaz 2022, section 3). Ordinary tokens that both
vocabularies have are computed like others there; here they keep their row.

Dimensions: V = old vocabulary, K = tokens that need rows, S = width of the word vectors.
"""

import numpy as np
from jaxtyping import Float32

from tasks.embedding.nearest_tokens import BLOCK_BYTES, nearest_tokens, softmax_weights
from tasks.embedding.row_weights import RowWeights
from tasks.embedding.space_alignment import SpaceAlignment


def wechsel(
    new_KS: Float32[np.ndarray, "K S"],
    old_VT: Float32[np.ndarray, "V T"],
    alignment: SpaceAlignment | None,
    n_neighbours: int,
    temperature: float,
    block_bytes: int = BLOCK_BYTES,
) -> RowWeights:
    """Weigh the nearest old tokens of each new one.

    Args:
        new_KS: vectors of the tokens in the target language's space, zeros where there is none.
        old_VT: vectors of the old tokens in the source language's, the same.
        alignment: from the source's to the target's space; None where they are one space.
        n_neighbours: old tokens behind a row.
        temperature: what cosines are divided by; the lower, the more the nearest counts.
        block_bytes: bound on the similarities held at once.

    Returns:
        Weights that sum to one, and none for a token without a vector.

    Raises:
        VectorWidthError: the two kinds of vectors differ in width.
        TooFewNeighboursError: fewer old tokens have a vector than ``n_neighbours``.
    """
    if alignment is not None:
        old_VT = (old_VT @ alignment.rotation).astype(np.float32)
    nearest = nearest_tokens(new_KS, old_VT, n_neighbours, block_bytes)
    return softmax_weights(nearest, temperature)
