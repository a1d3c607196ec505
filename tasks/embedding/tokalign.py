"""Rows for new tokens from the one old token that keeps the most similar company.

Token vectors are learnt for both vocabularies on the same text, each by itself. Tokens that both
have are pivots: a token is described by its cosines to them, which means the same on both sides.
Each new token takes the row of the old token whose description is nearest.
Source: TokAlign (Li et al. 2025). Three things differ. The vectors come from fastText, where the
paper takes GloVe; both factorise how often tokens meet (Levy and Goldberg 2014). Descriptions are
compared by cosine, not by their product, which favours old tokens that are near to everything. A
token without a vector gets nothing, where the authors' code draws an old token at random.

Dimensions: V = old vocabulary, W = new vocabulary, K = tokens that need rows, A = width of the
vectors, P = pivots, N = old tokens to choose from, C = candidates.
"""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64

from tasks.embedding.assignment import assign_greedily
from tasks.embedding.largest import largest
from tasks.embedding.row_weights import RowWeights
from tasks.shared.errors import InputError

N_CANDIDATES = 64
"""Old tokens each new one may be assigned, nearest first."""
BLOCK_BYTES = 1 << 26
"""Memory for one block of cosines."""


class TooFewPivotsError(InputError):
    """The vocabularies share too few tokens that text describes."""


def tokalign_weights(
    new_vectors_WA: Float32[np.ndarray, "W A"],
    old_vectors_VA: Float32[np.ndarray, "V A"],
    match_W: Int32[np.ndarray, " W"],
    tokens_K: Int64[np.ndarray, " K"],
    *,
    n_pivots: int,
    assignment: Literal["best", "one_to_one"],
    seed: int,
    block_bytes: int = BLOCK_BYTES,
) -> RowWeights:
    """Choose one old row for each token that needs one.

    Args:
        new_vectors_WA: of ``train_token_vectors`` on new ids, zero for a token without one.
        old_vectors_VA: the same on old ids of the same text.
        match_W: old id of the same token, negative where the source has none.
        tokens_K: new ids of the tokens that need rows.
        n_pivots: shared tokens that describe all others.
        assignment: ``best`` takes the nearest, which may serve several new tokens, as the
            authors' code does. ``one_to_one`` lets an old row serve once: rows of shared tokens
            are taken, and of two new tokens that want one row, the nearer gets it.
        seed: chooses the pivots.
        block_bytes: of the cosines held at a time.

    Returns:
        One old row of weight 1 each; none for a token without a vector, or (one to one) whose
        candidates are all taken.

    Raises:
        TooFewPivotsError: fewer than ``n_pivots`` shared tokens have a vector on both sides.
    """
    pivots = _pivots(new_vectors_WA, old_vectors_VA, match_W, n_pivots, seed)
    has_old_V = _has_vector(old_vectors_VA)
    if assignment == "one_to_one":
        has_old_V[match_W[match_W >= 0]] = False
    choices_N = np.flatnonzero(has_old_V)
    described_NP = _describe(old_vectors_VA[choices_N], old_vectors_VA[match_W[pivots]])
    described = np.flatnonzero(_has_vector(new_vectors_WA[tokens_K]))
    chosen_K = np.full(len(tokens_K), -1, np.int32)
    if len(choices_N):
        wanted_KP = _describe(new_vectors_WA[tokens_K[described]], new_vectors_WA[pivots])
        n_candidates = 1 if assignment == "best" else N_CANDIDATES
        nearest_KC, cosines_KC = _nearest(wanted_KP, described_NP, n_candidates, block_bytes)
        at_K = nearest_KC[:, 0]
        if assignment == "one_to_one":
            at_K = assign_greedily(nearest_KC, cosines_KC, len(choices_N))
        chosen_K[described] = np.where(at_K >= 0, choices_N[at_K], -1)
    found_K = chosen_K >= 0
    offsets = np.append(0, np.cumsum(found_K)).astype(np.int64)
    return RowWeights(chosen_K[found_K], np.ones(int(found_K.sum()), np.float32), offsets)


def _pivots(
    new_vectors_WA: Float32[np.ndarray, "W A"],
    old_vectors_VA: Float32[np.ndarray, "V A"],
    match_W: Int32[np.ndarray, " W"],
    n_pivots: int,
    seed: int,
) -> Int64[np.ndarray, " P"]:
    """Draw shared tokens with a vector on both sides; new ids, ascending."""
    usable_W = (match_W >= 0) & _has_vector(new_vectors_WA)
    usable_W &= _has_vector(old_vectors_VA)[np.maximum(match_W, 0)]
    usable = np.flatnonzero(usable_W)
    if len(usable) < n_pivots:
        raise TooFewPivotsError(
            f"{len(usable)} of {int((match_W >= 0).sum())} shared tokens have a vector under both "
            f"tokenizers, fewer than n_pivots={n_pivots}; give more text, lower min_count or "
            "n_pivots, or use initialiser method mean_of_pieces."
        )
    return np.sort(np.random.default_rng(seed).choice(usable, n_pivots, replace=False))


def _has_vector(vectors_WA: Float32[np.ndarray, "W A"]) -> Bool[np.ndarray, " W"]:
    return (vectors_WA != 0).any(axis=1)


def _describe(
    vectors_NA: Float32[np.ndarray, "N A"], pivots_PA: Float32[np.ndarray, "P A"]
) -> Float32[np.ndarray, "N P"]:
    """Cosines to the pivots, as a direction."""
    return _unit(_unit(vectors_NA) @ _unit(pivots_PA).T)


def _unit(rows_NX: Float32[np.ndarray, "N X"]) -> Float32[np.ndarray, "N X"]:
    norms_N1 = np.linalg.norm(rows_NX, axis=1, keepdims=True)
    return rows_NX / np.maximum(norms_N1, np.finfo(np.float32).tiny)


def _nearest(
    wanted_KP: Float32[np.ndarray, "K P"],
    described_NP: Float32[np.ndarray, "N P"],
    n_candidates: int,
    block_bytes: int,
) -> tuple[Int64[np.ndarray, "K C"], Float32[np.ndarray, "K C"]]:
    """Find the nearest of N for each of K, nearest first, and their cosines.

    Of old tokens with one cosine, the lower id comes first.
    """
    n_kept = min(n_candidates, len(described_NP))
    found_KC = np.zeros((len(wanted_KP), n_kept), np.int64)
    cosines_KC = np.zeros((len(wanted_KP), n_kept), np.float32)
    n_block = max(block_bytes // (4 * len(described_NP)), 1)
    for start in range(0, len(wanted_KP), n_block):
        block = slice(start, start + n_block)
        cosines_BN = wanted_KP[block] @ described_NP.T
        found_KC[block] = largest(cosines_BN, n_kept)
        cosines_KC[block] = np.take_along_axis(cosines_BN, found_KC[block], 1)
    return found_KC, cosines_KC
