"""Rows by one linear map from a donor's space into the source model's.

The donor owns the new tokenizer. The map is fitted on shared tokens by ridge regression and applied
to the donor rows of new tokens. Every tenth anchor is held out first, to say in a number how far
such rows are off.
Source: Mikolov, Le and Sutskever 2013 (Exploiting Similarities among Languages for Machine
Translation, section 4); ridge: Hoerl and Kennard 1970.

Dimensions: A = anchors, K = tokens that need rows, C = donor width, D = source width.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from scipy.linalg import solve

from tasks.embedding.anchors import Anchors

BLOCK = 4096
HELD_OUT = 10
"""Every so-manieth anchor of a seeded order measures the map."""
MINIMUM = 20
"""Anchors that it takes to fit and to measure anything."""


@dataclass(frozen=True)
class MapQuality:
    """How well the map predicts source rows of anchors that it was not fitted to."""

    n_anchors: int
    n_held_out: int
    relative_error: float
    """Norm of the error over all held-out rows, as a share of the norm of the rows."""
    mean_relative_error: float
    """The same for the guess that every row is the mean row: a map must be below this."""


def map_rows(
    targets_KC: Float32[np.ndarray, "K C"],
    anchors: Anchors,
    ridge: float = 0.01,
    *,
    intercept: bool = True,
    seed: int = 0,
) -> tuple[Float32[np.ndarray, "K D"], MapQuality]:
    """Fit the map on all anchors and apply it to donor rows of new tokens.

    Args:
        targets_KC: donor rows of the tokens that need rows.
        anchors: shared tokens.
        ridge: strength, as a multiple of the mean variance of the donor's entries.
        intercept: also fit a constant row, which is not penalised.
        seed: chooses the anchors held out for the measurement.

    Returns:
        Rows in the source space, and how good the map was on anchors held out of a first fit.

    Raises:
        TooFewAnchorsError: there are fewer than 20.
    """
    anchors.need(MINIMUM, "least_squares")
    order = np.random.default_rng(seed).permutation(len(anchors))
    held, fitted = order[::HELD_OUT], np.delete(order, np.s_[::HELD_OUT])
    first = _LinearMap.fit(anchors.donor[fitted], anchors.source[fitted], ridge, intercept)
    truth_HD = anchors.source[held]
    mean_D = anchors.source[fitted].mean(axis=0, dtype=np.float64)
    size = float(np.linalg.norm(truth_HD)) or 1.0
    quality = MapQuality(
        len(anchors),
        len(held),
        float(np.linalg.norm(first.apply(anchors.donor[held]) - truth_HD)) / size,
        float(np.linalg.norm(mean_D - truth_HD)) / size,
    )
    full = _LinearMap.fit(anchors.donor, anchors.source, ridge, intercept)
    return full.apply(targets_KC), quality


@dataclass(frozen=True)
class _LinearMap:
    weights: Float32[np.ndarray, "C D"]
    constant: Float32[np.ndarray, " D"]

    @classmethod
    def fit(
        cls,
        donor_AC: Float32[np.ndarray, "A C"],
        source_AD: Float32[np.ndarray, "A D"],
        ridge: float,
        intercept: bool,
    ) -> "_LinearMap":
        """Solve the normal equations in float64, summed up block by block."""
        width, out = donor_AC.shape[1], source_AD.shape[1]
        mean_C, mean_D = np.zeros(width), np.zeros(out)
        if intercept:
            mean_C = donor_AC.mean(axis=0, dtype=np.float64)
            mean_D = source_AD.mean(axis=0, dtype=np.float64)
        gram_CC, cross_CD = np.zeros((width, width)), np.zeros((width, out))
        for start in range(0, len(donor_AC), BLOCK):
            features = donor_AC[start : start + BLOCK] - mean_C
            gram_CC += features.T @ features
            cross_CD += features.T @ (source_AD[start : start + BLOCK] - mean_D)
        gram_CC.flat[:: width + 1] += ridge * np.trace(gram_CC) / width
        weights_CD = solve(gram_CC, cross_CD, assume_a="pos")
        constant_D = mean_D - mean_C @ weights_CD
        return cls(weights_CD.astype(np.float32), constant_D.astype(np.float32))

    def apply(self, donor_KC: Float32[np.ndarray, "K C"]) -> Float32[np.ndarray, "K D"]:
        return donor_KC @ self.weights + self.constant
