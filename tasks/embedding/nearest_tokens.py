"""The old tokens nearest to each new one by cosine, as weights.

What methods with vectors of both vocabularies in one space have in common: the k most similar old
tokens, weighted by a softmax of their similarities. Vectors of length zero stand for tokens
without a vector: they are no neighbour and find none.

Dimensions: V = old vocabulary, K = tokens that need rows, S = width of the shared space,
N = neighbours, T = width of the old tokens' vectors, which must be S.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32

from tasks.embedding.largest import largest
from tasks.embedding.row_weights import RowWeights
from tasks.shared.errors import InputError

BLOCK_BYTES = 2**27
"""Size of the similarities held at once."""


class TooFewNeighboursError(InputError):
    """Fewer old tokens have a vector than each new one needs as neighbours."""


class VectorWidthError(InputError):
    """Vectors to be compared are of differing width."""


@dataclass(frozen=True)
class Nearest:
    """Old ids by falling similarity; similarity -inf where a token has no vector."""

    ids: Int32[np.ndarray, "K N"]
    similarities: Float32[np.ndarray, "K N"]


def nearest_tokens(
    new_KS: Float32[np.ndarray, "K S"],
    old_VT: Float32[np.ndarray, "V T"],
    n_neighbours: int,
    block_bytes: int = BLOCK_BYTES,
) -> Nearest:
    """Find the most similar old tokens of each new one; the lower id first where two tie.

    Args:
        new_KS: vectors of new tokens, of any length.
        old_VT: vectors of old tokens, of any length.
        n_neighbours: how many to find.
        block_bytes: bound on the similarities held at once; changes no result.

    Raises:
        VectorWidthError: the two kinds of vectors differ in width.
        TooFewNeighboursError: fewer old tokens have a vector.
    """
    if new_KS.shape[1] != old_VT.shape[1]:
        raise VectorWidthError(
            f"vectors of new tokens have {new_KS.shape[1]} dimensions and those of old tokens "
            f"{old_VT.shape[1]}; give vectors of one width for both."
        )
    usable = np.flatnonzero(old_VT.any(axis=1)).astype(np.int32)
    if len(usable) < n_neighbours:
        raise TooFewNeighboursError(
            f"{len(usable)} of {len(old_VT)} old tokens have a vector, fewer than the "
            f"{n_neighbours} neighbours asked for; lower n_neighbours, or give vectors of more "
            "words."
        )
    keys_SU = np.ascontiguousarray(unit_rows(old_VT[usable]).T)
    block = max(1, block_bytes // (4 * len(usable)))
    ids_KN = np.zeros((len(new_KS), n_neighbours), np.int32)
    similarities_KN = np.full((len(new_KS), n_neighbours), -np.inf, np.float32)
    present = np.flatnonzero(new_KS.any(axis=1))
    for start in range(0, len(present), block):
        part = present[start : start + block]
        similarities_BU = unit_rows(new_KS[part]) @ keys_SU
        best_BN = largest(similarities_BU, n_neighbours)
        ids_KN[part] = usable[best_BN]
        similarities_KN[part] = np.take_along_axis(similarities_BU, best_BN, axis=1)
    return Nearest(ids_KN, similarities_KN)


def softmax_weights(nearest: Nearest, temperature: float) -> RowWeights:
    """Weight neighbours by exp(similarity / temperature), summing to one a token.

    A neighbour of similarity -inf has no weight, and a token of such alone has none at all.
    """
    highest_K1 = nearest.similarities.max(axis=1, keepdims=True, initial=-np.inf)
    highest_K1[np.isneginf(highest_K1)] = 0
    weights_KN = np.exp((nearest.similarities.astype(np.float64) - highest_K1) / temperature)
    weights_KN /= np.maximum(weights_KN.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return RowWeights.from_table(nearest.ids, weights_KN.astype(np.float32))


def unit_rows(rows: Float32[np.ndarray, "R S"]) -> Float32[np.ndarray, "R S"]:
    """Scale each row to length one; a row of zeros stays."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths == 0, np.float32(1), lengths)
