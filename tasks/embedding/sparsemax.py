"""Sparsemax: the point of the probability simplex that is nearest to a vector of scores.

Like softmax it gives weights that sum to one, but scores that are too far below the best get no
weight at all.
Source: Martins and Astudillo 2016, "From Softmax to Sparsemax", algorithm 1.

Dimensions: B = rows, A = scores a row, C = candidates kept.
"""

import numpy as np
from jaxtyping import Float32, Float64, Int32

from tasks.embedding.largest import largest

N_CANDIDATES = 64
"""Kept at first. Few scores get weight, and what is left out need not be sorted."""


def sparsemax(
    scores_BA: Float32[np.ndarray, "B A"],
) -> tuple[Int32[np.ndarray, "B C"], Float32[np.ndarray, "B C"]]:
    """Weigh the scores of each row.

    Args:
        scores_BA: at least one score a row, all finite.

    Returns:
        Columns of the candidates, best first and of equal ones the lowest first, and their
        weights: at least 0, with sum 1, and 0 from the last that has weight on.
    """
    n_scores = scores_BA.shape[1]
    n = min(N_CANDIDATES, n_scores)
    while True:
        columns_BC = largest(scores_BA, n)
        weights_BC = _weigh(np.take_along_axis(scores_BA, columns_BC, axis=1).astype(np.float64))
        # A candidate without weight shows that none below it could have any.
        if n == n_scores or (weights_BC[:, -1] == 0).all():
            used = max(int((weights_BC > 0).sum(axis=1).max(initial=1)), 1)
            return columns_BC[:, :used].astype(np.int32), weights_BC[:, :used].astype(np.float32)
        n = min(2 * n, n_scores)


def _weigh(scores_BC: Float64[np.ndarray, "B C"]) -> Float64[np.ndarray, "B C"]:
    """Apply the rule to scores that are sorted, best first."""
    # Weights do not change with a constant added to all scores; this one keeps digits.
    shifted_BC = scores_BC - scores_BC[:, :1]
    sums_BC = np.cumsum(shifted_BC, axis=1)
    ranks_C = np.arange(1, scores_BC.shape[1] + 1)
    support_B = (1 + ranks_C * shifted_BC > sums_BC).sum(axis=1)
    at_B = np.maximum(support_B - 1, 0)[:, None]
    threshold_B1 = (np.take_along_axis(sums_BC, at_B, axis=1) - 1) / (at_B + 1)
    return np.maximum(shifted_BC - threshold_B1, 0.0)
