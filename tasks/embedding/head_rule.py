"""Head rows by the first old piece, with or without the token's prior given that piece.

Dimensions: W = new vocabulary, D = model width.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from tasks.embedding.config_base import PrefixPrior
from tasks.embedding.constant_direction import ConstantDirection
from tasks.embedding.known import Known
from tasks.embedding.prefix_prior import prefix_prior
from tasks.embedding.row_plan import RowPlan
from tasks.embedding.row_weights import RowWeights, spread
from tasks.embedding.rows import Origins
from tasks.shared.readable import readable

BLOCK = 8192


@dataclass(frozen=True)
class HeadRows:
    """Rows of a head of its own, and its bias where the model has one."""

    rows: Float32[np.ndarray, "W D"]
    bias: Float32[np.ndarray, " W"] | None
    origins: Origins


@dataclass(frozen=True)
class HeadPrior:
    """Logit offset of each token, and what adds to a logit everywhere."""

    log_prior: Float64[np.ndarray, " W"]
    direction: ConstantDirection | None
    """None where the head has a bias, which takes offsets as they are: no class of transformers
    has a head bias and scales its logits."""


def head_prior(
    config: PrefixPrior,
    plan: RowPlan,
    counts_W: Int64[np.ndarray, " W"],
    direction: ConstantDirection | None,
) -> HeadPrior:
    """Compute the prior of all tokens that are old pieces or begin with one.

    Args:
        config: what counts are raised by.
        plan: old ids behind each new token.
        counts_W: occurrences of each new token in the corpus.
        direction: what adds to a logit everywhere; None for a head with a bias.
    """
    first_W = np.where(_has_first_piece(plan), plan.pieces.first(), np.int32(-1))
    log_prior_W = prefix_prior(first_W, counts_W, config.seen_count, config.unseen_count)
    return HeadPrior(log_prior_W, direction)


def first_piece_head(known: Known, own: HeadRows, prior: HeadPrior | None) -> HeadRows:
    """Give tokens the head row (and bias) of their first old piece, and the prior on top.

    Args:
        known: the source model and the plan.
        own: head rows as the initialiser makes them, which stay for tokens outside the old
            vocabulary and its pieces: special tokens and what fell back.
        prior: added to the logit; into the bias where there is one, else into the row.
    """
    at = np.flatnonzero(_has_first_piece(known.plan))
    first = known.plan.pieces.first()[at]
    rows_WD = own.rows.copy()
    rows_WD[at] = known.rows.head[first]
    bias_W = None if own.bias is None else own.bias.copy()
    if bias_W is not None and known.rows.head_bias is not None:
        bias_W[at] = known.rows.head_bias[first]
    if prior is not None:
        bias_W = _add_prior(rows_WD, bias_W, prior)
    return HeadRows(rows_WD, bias_W, _origins(known, own.origins, at, prior))


def _has_first_piece(plan: RowPlan) -> Bool[np.ndarray, " W"]:
    return plan.are("copied", "new")


def _add_prior(
    rows_WD: Float32[np.ndarray, "W D"], bias_W: Float32[np.ndarray, " W"] | None, prior: HeadPrior
) -> Float32[np.ndarray, " W"] | None:
    """Return the raised bias; without one, raise the rows in place."""
    offset_W, direction = prior.log_prior, prior.direction
    if bias_W is not None:
        return (bias_W + offset_W).astype(np.float32)
    if direction is None:
        raise ValueError("a head without a bias takes a prior along a constant direction alone")
    for start in range(0, len(rows_WD), BLOCK):
        part = slice(start, start + BLOCK)
        rows_WD[part] += (offset_W[part, None] * direction.direction).astype(np.float32)
    return None


def _origins(
    known: Known, own: Origins, at: Int64[np.ndarray, " L"], prior: HeadPrior | None
) -> Origins:
    first = known.plan.pieces.first()[at]
    methods, notes, old = list(own.methods), list(own.notes), known.source
    shown = {i: readable(old.token_bytes[i], old.token_text[i]) for i in np.unique(first).tolist()}
    for token, piece in zip(at.tolist(), first.tolist(), strict=True):
        if prior is not None:
            methods[token] = "prefix_prior"
            notes[token] = f"logit + log P(token | {shown[piece]}) = {prior.log_prior[token]:.4f}"
        elif known.plan.match[token] < 0:
            methods[token], notes[token] = "first_piece", ""
    alone = RowWeights(first, np.ones(len(at), np.float32), np.arange(len(at) + 1))
    rest = np.setdiff1d(np.arange(len(methods)), at)
    weights = spread(len(methods), [(at, alone), (rest, own.weights.take(rest))])
    return replace(own, methods=tuple(methods), weights=weights, notes=tuple(notes))
