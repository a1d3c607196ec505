"""Initialisers that read a donor: a model that owns the new tokenizer.

Dimensions: V = old vocabulary, W = new vocabulary, K = tokens that need rows, F = those of them
that the donor has, A = anchors.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64

from tasks.embedding.anchors import Anchors, check_donor_covers
from tasks.embedding.config_donor import Interpolation, LeastSquares, Omp
from tasks.embedding.interpolation import interpolate
from tasks.embedding.known import Known
from tasks.embedding.least_squares import map_rows
from tasks.embedding.made_rows import MadeRows
from tasks.embedding.omp import omp
from tasks.embedding.row_weights import RowWeights, spread
from tasks.embedding.rows import SourceRows

FromDonor = Omp | Interpolation | LeastSquares
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Donor:
    """The donor's rows, and its id of each new token, negative where it has none."""

    name: str
    rows: SourceRows
    match: Int32[np.ndarray, " W"]


@dataclass(frozen=True)
class _Part:
    """Rows of one side, input or head, as a method made them."""

    rows: Float32[np.ndarray, "K D"]
    weights: RowWeights | None
    measured: Mapping[str, float] = field(default_factory=dict[str, float])


def make_from_donor(
    method: FromDonor,
    known: Known,
    donor: Donor,
    progress: Progress = lambda done, total: None,
) -> MadeRows:
    """Make rows for every token that the donor has, input and head each in its own space.

    A donor whose head is tied lends its input rows for both. A head bias is left to the mean of
    pieces: donors seldom have one. A token whose row is zero in the donor was never trained there,
    and counts as one that it lacks; so does one whose row no sum of anchors comes near.

    Raises:
        DonorLacksTokensError: the donor has none of the tokens.
        TooFewAnchorsError: donor and source share too few.
    """
    needed = known.plan.needed
    if not len(needed):
        return MadeRows.nothing(known.rows)
    found_K = donor.match[needed] >= 0
    found_K[found_K] = donor.rows.input[donor.match[needed[found_K]]].any(axis=1)
    if not found_K.any():
        check_donor_covers(found_K, donor.name)
    donor_has = _what_it_has(found_K, donor.name)
    shared = _shared(known, donor)
    ids = known.plan.match[shared]

    def make(theirs: Float32[np.ndarray, "X C"], ours: Float32[np.ndarray, "V D"]) -> _Part:
        anchors = Anchors(theirs[donor.match[shared]], ours[ids], ids)
        targets_FC = theirs[donor.match[needed[found_K]]]
        return _spread(_made(method, targets_FC, anchors, ours, progress), found_K)

    old = known.rows
    made = make(donor.rows.input, old.input)
    head = None if old.tied else make(donor.rows.head, old.head)
    for part in (made, head):
        if part is not None and part.weights is not None:
            found_K = found_K & part.weights.found
    return MadeRows(
        made.rows,
        None if head is None else head.rows,
        None,
        found_K,
        made.weights,
        made.weights if head is None else head.weights,
        "" if made.weights else "linear map of the donor's row",
        measured={"n_anchors": len(shared), **made.measured},
        donor_has=donor_has,
    )


def _what_it_has(trained_K: Bool[np.ndarray, " K"], donor: str) -> str:
    """Say which tokens a donor has, unless it has them all."""
    if trained_K.all():
        return ""
    return (
        f"the donor {donor} has a trained row for {trained_K.sum()} of the {len(trained_K)} "
        "new tokens"
    )


def _shared(known: Known, donor: Donor) -> Int64[np.ndarray, " A"]:
    """New ids of the tokens that both models have, ascending, one for each token of the source.

    Of several that are the same token of the source, a stand-in for a byte is the last choice:
    where a real piece has that byte, no text ever trained the stand-in's row in the donor.
    """
    shared = np.flatnonzero(known.plan.are("copied") & (donor.match >= 0))
    stands_in_A = [known.target.is_byte_fallback(i) for i in shared.tolist()]
    preferred = shared[np.argsort(stands_in_A, kind="stable")]
    _, first = np.unique(known.plan.match[preferred], return_index=True)
    return np.sort(preferred[first])


def _made(
    method: FromDonor,
    targets_FC: Float32[np.ndarray, "F C"],
    anchors: Anchors,
    ours: Float32[np.ndarray, "V D"],
    progress: Progress,
) -> _Part:
    match method:
        case Omp():
            weights, left_F = omp(
                targets_FC, anchors, method.k, normalised=method.normalised, progress=progress
            )
            return _Part(weights.rows(ours), weights, {"median_residual": float(np.median(left_F))})
        case Interpolation():
            weights = interpolate(
                targets_FC, anchors, method.k, method.metric, method.weighting, progress
            )
            return _Part(weights.rows(ours), weights)
        case LeastSquares():
            rows, quality = map_rows(
                targets_FC, anchors, method.ridge, intercept=method.intercept, seed=method.seed
            )
            measured = {
                "held_out_relative_error": quality.relative_error,
                "held_out_error_of_mean": quality.mean_relative_error,
            }
            return _Part(rows, None, measured)


def _spread(part: _Part, found_K: np.ndarray) -> _Part:
    """From the tokens that the donor has to all that need rows."""
    at: Int64[np.ndarray, " F"] = np.flatnonzero(found_K)
    rows_KD = np.zeros((len(found_K), part.rows.shape[1]), np.float32)
    rows_KD[at] = part.rows
    weights = None if part.weights is None else spread(len(found_K), [(at, part.weights)])
    return _Part(rows_KD, weights, part.measured)
