"""Rows interpolated between the nearest shared tokens in a donor's space.

The donor owns the new tokenizer. A new token's row is a weighted sum of the source rows of the k
anchors whose donor rows are nearest to its own.
Source: the interpolation that mergekit's tokensurgeon offers beside matching pursuit, after locally
linear embedding (Roweis and Saul 2000), whose weights are the barycentric ones without a ridge.

Dimensions: K = tokens that need rows, B = a block of them, A = anchors, C = donor width,
N = neighbours a token.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64, Int64

from tasks.embedding.anchors import Anchors
from tasks.embedding.largest import largest
from tasks.embedding.row_weights import RowWeights

Metric = Literal["euclidean", "cosine"]
Weighting = Literal["inverse_distance", "barycentric", "least_squares"]
BLOCK_BYTES = 1 << 27
NEAREST = 1e-6
"""Distance below which two rows count as this far apart."""


def interpolate(
    targets_KC: Float32[np.ndarray, "K C"],
    anchors: Anchors,
    k: int = 64,
    metric: Metric = "euclidean",
    weighting: Weighting = "inverse_distance",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> RowWeights:
    """Give each token weights over its k nearest anchors.

    Args:
        targets_KC: donor rows of the tokens that need rows.
        anchors: shared tokens.
        k: neighbours a token.
        metric: what near means; cosine looks at directions alone.
        weighting: ``inverse_distance`` falls with the distance (with cosine it is proportional to
            the similarity, and may be negative; a token whose similarities do not sum to more than
            nothing gets no weights), ``barycentric`` is the best fit of the token's
            donor row whose weights sum to 1, ``least_squares`` the best fit of all.
        progress: called with tokens done and tokens in all.

    Raises:
        TooFewAnchorsError: there are fewer than ``k``.
    """
    anchors.need(k, f"interpolation with k = {k}")
    n = len(targets_KC)
    nearest_KN, weights_KN = np.empty((n, k), np.int64), np.empty((n, k), np.float32)
    at_once = 4 * len(anchors) + 16 * k * (targets_KC.shape[1] + k)
    step = max(1, BLOCK_BYTES // at_once)
    squares_A = np.einsum("ac,ac->a", anchors.donor, anchors.donor)
    for start in range(0, n, step):
        part = slice(start, start + step)
        targets_BC = targets_KC[part]
        near_BN, distance_BN = _nearest(targets_BC, anchors.donor, squares_A, k, metric)
        if weighting == "inverse_distance":
            weights_BN = _by_distance(distance_BN, metric)
        else:
            points_BNC = anchors.donor[near_BN].astype(np.float64)
            fit = _barycentric if weighting == "barycentric" else _least_squares
            weights_BN = fit(targets_BC.astype(np.float64), points_BNC)
        nearest_KN[part], weights_KN[part] = near_BN, weights_BN
        progress(min(start + step, n), n)
    return RowWeights.from_table(anchors.ids[nearest_KN], weights_KN)


def _nearest(
    targets_BC: Float32[np.ndarray, "B C"],
    anchors_AC: Float32[np.ndarray, "A C"],
    squares_A: Float32[np.ndarray, " A"],
    k: int,
    metric: Metric,
) -> tuple[Int64[np.ndarray, "B N"], Float64[np.ndarray, "B N"]]:
    """Find the k nearest anchors, nearest first, and measure them again in float64.

    The search itself ranks by products in float32. Of anchors equally far, the one with the lower
    place among all comes first, also where not all of them are among the k.
    """
    near_BA = targets_BC @ anchors_AC.T
    if metric == "cosine":
        near_BA /= np.maximum(np.sqrt(squares_A), NEAREST)
    else:
        near_BA *= 2
        near_BA -= squares_A
    near_BN = largest(near_BA, k)
    near_BN.sort(axis=1)
    points_BNC = anchors_AC[near_BN].astype(np.float64)
    targets_B1C = targets_BC[:, None].astype(np.float64)
    if metric == "cosine":
        norms_BN = np.linalg.norm(points_BNC, axis=2) * np.linalg.norm(targets_B1C, axis=2)
        similar_BN = (points_BNC * targets_B1C).sum(axis=2) / np.maximum(norms_BN, NEAREST)
        distance_BN = 1 - similar_BN
    else:
        distance_BN = np.linalg.norm(points_BNC - targets_B1C, axis=2)
    order_BN = np.argsort(distance_BN, axis=1, kind="stable")
    return np.take_along_axis(near_BN, order_BN, 1), np.take_along_axis(distance_BN, order_BN, 1)


def _by_distance(
    distance_BN: Float64[np.ndarray, "B N"], metric: Metric
) -> Float64[np.ndarray, "B N"]:
    raw_BN = 1 - distance_BN if metric == "cosine" else 1 / np.maximum(distance_BN, NEAREST)
    sum_B1 = raw_BN.sum(axis=1, keepdims=True)
    # Similarities that cancel out say nothing: such a token gets no weights.
    return np.divide(raw_BN, sum_B1, out=np.zeros_like(raw_BN), where=sum_B1 > NEAREST)


def _barycentric(
    targets_BC: Float64[np.ndarray, "B C"], points_BNC: Float64[np.ndarray, "B N C"]
) -> Float64[np.ndarray, "B N"]:
    """Fit with weights that sum to 1: the last takes what the others leave.

    Where several fit equally, the smallest differences from equal weights are taken.
    """
    mean_B1C = points_BNC.mean(axis=1, keepdims=True)
    centred_BNC = points_BNC - mean_B1C
    extra_BN = _least_squares(targets_BC - mean_B1C[:, 0], centred_BNC)
    return extra_BN + (1 - extra_BN.sum(axis=1, keepdims=True)) / points_BNC.shape[1]


def _least_squares(
    targets_BC: Float64[np.ndarray, "B C"], points_BNC: Float64[np.ndarray, "B N C"]
) -> Float64[np.ndarray, "B N"]:
    """Fit freely; of equal fits the smallest weights."""
    inverse_BNC = np.linalg.pinv(points_BNC.transpose(0, 2, 1), rcond=1e-6)
    return np.einsum("bnc,bc->bn", inverse_BNC, targets_BC)
