"""The model's own vocabulary teaches how a row is composed of two rows; a method of our own.

Every old merge (l, r) -> t is one example of E_t from [E_l, E_r], and weighs the more the more
often t occurs in the corpus as the new tokenizer cuts it: rows that are rarely trained teach
little, and tokens of another language compose in another way. What new merges swallow, or the new
vocabulary lacks, counts as never. A ridge regression over all of them gives a linear map, which is
applied along the merges of the new tokens in order, so that a new token may be composed of new
tokens.

Dimensions: V = old vocabulary, M = old merges, N = compositions, K = tokens that need rows,
F = 2 D, D = model width.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int32
from scipy.linalg import solve

from tasks.embedding.merge_plan import MergePlan
from tasks.shared.errors import InputError

BLOCK = 4096
WITHOUT_MERGES = (
    "(BPE has merges, Unigram and WordPiece have none): use initialiser method mean_of_pieces, or "
    "any other but composed, merge_regression and hypernetwork; token_distillation and prealign "
    "with start: mean_of_pieces."
)
"""What to do about a source tokenizer that has too few."""


class NoMergesError(InputError):
    """The source tokenizer has no merges to learn composition from."""


@dataclass(frozen=True)
class MergeMap:
    """E_t = [E_l, E_r] weights + intercept."""

    weights: Float32[np.ndarray, "F D"]
    intercept: Float32[np.ndarray, " D"]
    median_norm: float
    """Median norm of the old merged rows it was fitted to."""

    def apply(
        self, left_ND: Float32[np.ndarray, "N D"], right_ND: Float32[np.ndarray, "N D"]
    ) -> Float32[np.ndarray, "N D"]:
        """Predict the rows of merges from the rows of their two parts."""
        return np.hstack([left_ND, right_ND]) @ self.weights + self.intercept


def fit_merges(
    source_VD: Float32[np.ndarray, "V D"],
    merges_M3: Int32[np.ndarray, "M 3"],
    ridge: float,
    weights_M: Float64[np.ndarray, " M"],
) -> MergeMap:
    """Fit the map on old merges by ridge regression, in closed form and float64.

    The intercept is not penalised: features and targets are centred first.

    Args:
        source_VD: old input rows.
        merges_M3: left, right and result id of each old merge.
        ridge: strength, as a multiple of the mean variance of the features.
        weights_M: positive weight of each old merge; only their ratios matter.

    Raises:
        NoMergesError: there is nothing to learn from.
    """
    width = source_VD.shape[1]
    if len(merges_M3) < 2:
        raise NoMergesError(
            f"the source tokenizer has {len(merges_M3) or 'no'} merges, from which methods "
            f"merge_regression and composed learn how rows are put together {WITHOUT_MERGES}"
        )
    shares_M = weights_M / weights_M.mean()
    parts = [_mean(source_VD, merges_M3[:, i], shares_M) for i in range(3)]
    mean_F, mean_D = np.concatenate(parts[:2]), parts[2]
    gram_FF = np.zeros((2 * width, 2 * width))
    cross_FD = np.zeros((2 * width, width))
    for start in range(0, len(merges_M3), BLOCK):
        left, right, result = merges_M3[start : start + BLOCK].T
        features = np.hstack([source_VD[left], source_VD[right]]) - mean_F
        weighted = features * shares_M[start : start + BLOCK, None]
        gram_FF += weighted.T @ features
        cross_FD += weighted.T @ (source_VD[result] - mean_D)
    if not gram_FF.any():
        raise NoMergesError(
            f"the parts of all {len(merges_M3)} merges have the same rows, from which nothing can "
            "be learnt; check the source model's weights, or use initialiser method mean_of_pieces."
        )
    gram_FF.flat[:: 2 * width + 1] += ridge * np.trace(gram_FF) / (2 * width)
    weights_FD = solve(gram_FF, cross_FD, assume_a="pos")
    norms_M = np.linalg.norm(source_VD[merges_M3[:, 2]], axis=1)
    return MergeMap(
        weights_FD.astype(np.float32),
        (mean_D - mean_F @ weights_FD).astype(np.float32),
        float(np.median(norms_M)),
    )


def _mean(
    source_VD: Float32[np.ndarray, "V D"],
    ids_M: Int32[np.ndarray, " M"],
    shares_M: Float64[np.ndarray, " M"],
) -> Float64[np.ndarray, " D"]:
    """Weighted mean of rows, read in blocks."""
    total_D = np.zeros(source_VD.shape[1])
    for start in range(0, len(ids_M), BLOCK):
        part = slice(start, start + BLOCK)
        total_D += shares_M[part] @ source_VD[ids_M[part]]
    return total_D / len(ids_M)


def compose_rows(
    source_VD: Float32[np.ndarray, "V D"], merge_map: MergeMap, plan: MergePlan
) -> Float32[np.ndarray, "N D"]:
    """Build the row of every composition, parts before wholes, one depth at a time."""
    n_source = len(source_VD)
    nodes_ND = np.empty((len(plan.depth), source_VD.shape[1]), np.float32)
    rows = np.concatenate([source_VD, nodes_ND])
    for depth in range(1, int(plan.depth.max(initial=0)) + 1):
        at = np.flatnonzero(plan.depth == depth)
        rows[n_source + at] = merge_map.apply(rows[plan.left[at]], rows[plan.right[at]])
    return rows[n_source:]


def norm_factor(rows_ND: Float32[np.ndarray, "N D"], median_norm: float) -> float:
    """Find the factor that brings the rows' median norm to ``median_norm``."""
    if not len(rows_ND):
        return 1.0
    median = float(np.median(np.linalg.norm(rows_ND, axis=1)))
    return median_norm / median if median > 0 else 1.0


def regress_rows(
    source_VD: Float32[np.ndarray, "V D"],
    merges_M3: Int32[np.ndarray, "M 3"],
    ridge: float,
    weights_M: Float64[np.ndarray, " M"],
    plan: MergePlan,
    node_K: Int32[np.ndarray, " K"],
) -> Float32[np.ndarray, "K D"]:
    """Learn composition from old merges and compose new rows, brought to the old median norm.

    Args:
        source_VD: old rows.
        merges_M3: left, right and result id of each old merge.
        ridge: strength, as a multiple of the mean variance of the features.
        weights_M: of each old merge as an example.
        plan: compositions of the new tokens.
        node_K: node of each token that needs a row; -1 where it has none and gets zeros.

    Raises:
        NoMergesError: there is nothing to learn from.
    """
    merge_map = fit_merges(source_VD, merges_M3, ridge, weights_M)
    nodes = np.concatenate([source_VD, compose_rows(source_VD, merge_map, plan)])
    made_KD = np.zeros((len(node_K), source_VD.shape[1]), np.float32)
    found_K = node_K >= 0
    made_KD[found_K] = nodes[node_K[found_K]]
    made_KD[found_K] *= np.float32(norm_factor(made_KD[found_K], merge_map.median_norm))
    return made_KD
