"""The rows of a whole vocabulary, by either method.

Dimensions: V = old vocabulary, W = new vocabulary, D = model width.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64

from tasks.embedding.config import Composed
from tasks.embedding.constant_direction import ConstantDirection
from tasks.embedding.mean_of_pieces import mean_of_pieces
from tasks.embedding.merge_plan import plan_merges
from tasks.embedding.merge_regression import compose_rows, fit_merges, norm_factor
from tasks.embedding.prefix_prior import prefix_prior
from tasks.embedding.row_plan import RowPlan


@dataclass(frozen=True)
class SourceRows:
    """Rows of the source model in float32; ``head`` is the input itself in a tied model."""

    input: Float32[np.ndarray, "V D"]
    head: Float32[np.ndarray, "V D"]
    head_bias: Float32[np.ndarray, " V"] | None
    tied: bool


@dataclass(frozen=True)
class NewRows:
    """Rows of the new vocabulary; ``head`` is absent where the model stays tied."""

    input: Float32[np.ndarray, "W D"]
    head: Float32[np.ndarray, "W D"] | None
    head_bias: Float32[np.ndarray, " W"] | None
    mean_share: float = 1.0
    """What the mean of pieces is multiplied by in a new input row; the rest is composition."""
    prior: Float64[np.ndarray, " W"] | None = None
    """Logit offset of each head row, where the method has one."""


def mean_rows(source: SourceRows, plan: RowPlan) -> NewRows:
    """Give every token the mean of its pieces' rows on both sides; tied stays tied."""
    bias_V = source.head_bias
    return NewRows(
        _mean_or_fallback(source.input, plan),
        None if source.tied else _mean_or_fallback(source.head, plan),
        None if bias_V is None else _mean_or_fallback(bias_V[:, None], plan)[:, 0],
    )


def composed_rows(
    source: SourceRows,
    plan: RowPlan,
    config: Composed,
    source_merges_M3: Int32[np.ndarray, "M 3"],
    target_merges_M3: Int32[np.ndarray, "N 3"],
    counts_W: Int64[np.ndarray, " W"],
    bias: ConstantDirection,
) -> NewRows:
    """Compose input rows along merges and give head rows their first piece plus its prior.

    Args:
        source: rows of the source model.
        plan: old ids behind each new token.
        config: strengths and shares.
        source_merges_M3: left, right, result id of each merge of the source tokenizer.
        target_merges_M3: the same of the new tokenizer, by rank.
        counts_W: occurrences of each new token in the corpus.
        bias: what adds to a logit everywhere.
    """
    input_WD = _mean_or_fallback(source.input, plan)
    new_W = plan.are("new")
    merge_map = fit_merges(source.input, source_merges_M3, config.merge_ridge)
    merge_plan = plan_merges(len(source.input), plan.match, target_merges_M3, plan.pieces)
    nodes_ND = compose_rows(source.input, merge_map, merge_plan)
    made_ND = np.concatenate([source.input, nodes_ND])[merge_plan.node_of[new_W]]
    made_ND = made_ND * np.float32(norm_factor(made_ND, merge_map.median_norm))
    share = np.float32(config.mean_weight)
    # The mixture keeps its shorter norm: bringing it to the old one cost 0.08 bits per byte.
    input_WD[new_W] = share * input_WD[new_W] + (1 - share) * made_ND

    first_W = np.where(plan.are("copied", "new"), plan.pieces.first(), np.int32(-1))
    prior_W = prefix_prior(first_W, counts_W, config.seen_count, config.unseen_count)
    head_WD, bias_W = _head_rows(source, plan, prior_W, bias)
    return NewRows(input_WD, head_WD, bias_W, float(share), prior_W)


def _head_rows(
    source: SourceRows,
    plan: RowPlan,
    prior_W: Float64[np.ndarray, " W"],
    bias: ConstantDirection,
) -> tuple[Float32[np.ndarray, "W D"], Float32[np.ndarray, " W"] | None]:
    """Row (and bias) of the first piece, with the prior in the bias or else in the row."""
    first_W = plan.pieces.first()
    head_WD = np.where((first_W >= 0)[:, None], source.head[first_W], source.head.mean(0))
    if source.head_bias is not None:
        bias_V = source.head_bias
        old_bias_W = np.where(first_W >= 0, bias_V[first_W], bias_V.mean())
        return head_WD, (old_bias_W + prior_W * bias.bias_unit).astype(np.float32)
    for start in range(0, len(head_WD), 8192):
        part = slice(start, start + 8192)
        head_WD[part] += (prior_W[part, None] * bias.direction).astype(np.float32)
    return head_WD, None


def _mean_or_fallback(
    source_VD: Float32[np.ndarray, "V C"], plan: RowPlan
) -> Float32[np.ndarray, "W C"]:
    """Mean of pieces where there are pieces, the mean of all old rows where there are none."""
    covered_W = plan.pieces.lengths > 0
    rows_WC = np.empty((len(covered_W), source_VD.shape[1]), np.float32)
    rows_WC[covered_W] = mean_of_pieces(source_VD, plan.pieces.select(covered_W))
    rows_WC[~covered_W] = source_VD.mean(axis=0, dtype=np.float64)
    return rows_WC
