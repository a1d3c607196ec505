"""Initialisers that need nothing but the source model and the two tokenizers.

Each is a function from old rows to new ones, applied to the input, to a head of its own, and to
a head bias.

Dimensions: V = old vocabulary, K = tokens that need rows, D = model width, C = columns.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32

from tasks.embedding.config_source import (
    Composed,
    Mean,
    MeanOfPieces,
    MergeRegression,
    MergeTree,
    MultivariateNormal,
    Normal,
)
from tasks.embedding.known import Known
from tasks.embedding.made_rows import MadeRows
from tasks.embedding.mean import mean_rows
from tasks.embedding.mean_of_pieces import piece_weights, uniform_weights
from tasks.embedding.merge_plan import plan_merges
from tasks.embedding.merge_regression import regress_rows
from tasks.embedding.merge_tree import merge_tree_weights
from tasks.embedding.normal import multivariate_normal_rows, normal_rows
from tasks.embedding.row_weights import RowWeights

FromSource = (
    Mean | Normal | MultivariateNormal | MeanOfPieces | MergeTree | MergeRegression | Composed
)


def make_from_source(method: FromSource, known: Known) -> MadeRows:
    """Make rows for every token that needs them.

    Raises:
        InputError: a tokenizer has no merges and the method follows them.
    """
    plan, n_needed = known.plan, known.n_needed
    if not n_needed:
        return MadeRows.nothing(known.rows)
    match method:
        case Mean():
            return _each_part(known, lambda old, part: mean_rows(old, n_needed))
        case Normal():
            return _each_part(
                known, lambda old, part: normal_rows(old, n_needed, _rng(method.seed, part))
            )
        case MultivariateNormal():
            return _each_part(
                known,
                lambda old, part: multivariate_normal_rows(
                    old, n_needed, method.covariance_scale, _rng(method.seed, part)
                ),
            )
        case MeanOfPieces():
            weights = piece_weights(plan.needed_pieces, method.weighting, known.source_bytes)
            return MadeRows.from_weights(known.rows, *weights)
        case MergeTree():
            weights = merge_tree_weights(len(known.source), plan.match, known.target_merges)
            return MadeRows.from_weights(known.rows, weights.take(plan.needed))
        case MergeRegression():
            return _regressed(method, 0.0, known)
        case Composed():
            return _regressed(method, method.mean_weight, known)


def _rng(seed: int, part: int) -> np.random.Generator:
    return np.random.default_rng([seed, part])


def _each_part(
    known: Known,
    make: Callable[[Float32[np.ndarray, "V C"], int], Float32[np.ndarray, "K C"]],
) -> MadeRows:
    """Rows that depend on the old ones of the same part alone, hence found for every token."""
    old = known.rows
    return MadeRows(
        make(old.input, 0),
        None if old.tied else make(old.head, 1),
        None if old.head_bias is None else make(old.head_bias[:, None], 2)[:, 0],
        np.ones(known.n_needed, bool),
    )


def _regressed(method: MergeRegression | Composed, mean_weight: float, known: Known) -> MadeRows:
    """Merge regression on the input and on a head of its own, mixed with the mean of pieces.

    One number a token is too little to learn composition from, so that a head bias is left to
    the mean of pieces.
    """
    plan, old, share = known.plan, known.rows, np.float32(mean_weight)
    merge_plan = plan_merges(len(known.source), plan.match, known.target_merges, plan.pieces)
    node_K = merge_plan.node_of[plan.needed]
    pieces = uniform_weights(plan.needed_pieces)
    merges_M3 = known.source_merges
    weights_M = (known.old_counts[merges_M3[:, 2]] + 0.5) ** method.count_power

    def make(old_VD: Float32[np.ndarray, "V D"]) -> Float32[np.ndarray, "K D"]:
        made = regress_rows(old_VD, merges_M3, method.merge_ridge, weights_M, merge_plan, node_K)
        # The mixture keeps its shorter norm: bringing it to the old one cost 0.08 bits per byte.
        return share * pieces.rows(old_VD) + (1 - share) * made

    head_is_read = not old.tied and method.head in ("same", "untied")
    parts = RowWeights(pieces.ids, pieces.weights * share, pieces.offsets) if share else None
    return MadeRows(
        make(old.input),
        make(old.head) if head_is_read else None,
        None,
        node_K >= 0,
        parts,
        parts,
        tuple(
            f"{'plus ' if share else ''}merge regression over the token's {way}"
            for way in np.where(merge_plan.of_pieces[plan.needed], "pieces", "merges").tolist()
        ),
    )
