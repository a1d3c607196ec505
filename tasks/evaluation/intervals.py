"""Intervals for bits per byte by resampling documents.

Tokens of one document rise and fall together, so documents are drawn, not tokens. Two models are
compared on the same draw: most of the spread is how hard the documents are, and it cancels.

Dimensions: N = documents.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Integer
from scipy.stats import bootstrap


@dataclass(frozen=True)
class Resampling:
    """How the resamples are drawn."""

    n_resamples: int
    confidence: float
    seed: int


@dataclass(frozen=True)
class Estimate:
    """A value with its interval; there is none when only one document was measured."""

    value: float
    low: float | None
    high: float | None
    n: int


def ratio(
    numerator_N: Float[np.ndarray, " N"] | Integer[np.ndarray, " N"],
    denominator_N: Float[np.ndarray, " N"] | Integer[np.ndarray, " N"],
    resampling: Resampling,
) -> Estimate:
    """Estimate sum over sum, e.g. all bits over all bytes, or all bytes over all tokens."""
    return _estimate(_ratio, (numerator_N, denominator_N), resampling)


def bits_per_byte_of(
    nats_N: Float[np.ndarray, " N"], n_bytes_N: Integer[np.ndarray, " N"], resampling: Resampling
) -> Estimate:
    """Estimate one model's bits per byte."""
    return ratio(nats_N / math.log(2), n_bytes_N, resampling)


def bits_per_byte_difference(
    nats_N: Float[np.ndarray, " N"],
    baseline_nats_N: Float[np.ndarray, " N"],
    n_bytes_N: Integer[np.ndarray, " N"],
    resampling: Resampling,
) -> Estimate:
    """Estimate a model's bits per byte less another's on the same documents; below 0 is better."""
    return ratio((nats_N - baseline_nats_N) / math.log(2), n_bytes_N, resampling)


def saved_share(
    tokens_N: Integer[np.ndarray, " N"],
    baseline_tokens_N: Integer[np.ndarray, " N"],
    resampling: Resampling,
) -> Estimate:
    """Estimate the share of the baseline's tokens that a tokenizer does without."""
    return ratio(baseline_tokens_N - tokens_N, baseline_tokens_N, resampling)


def _ratio(numerator: np.ndarray, denominator: np.ndarray, axis: int) -> np.ndarray | np.floating:
    return numerator.sum(axis=axis) / denominator.sum(axis=axis)


def _estimate(
    statistic: Callable[..., np.ndarray | np.floating],
    samples: tuple[np.ndarray, ...],
    resampling: Resampling,
) -> Estimate:
    n = len(samples[0])
    value = float(statistic(*samples, axis=-1))
    if n < 2:
        return Estimate(value, None, None, n)
    result: Any = bootstrap(
        samples,
        statistic,
        paired=True,
        vectorized=True,
        n_resamples=resampling.n_resamples,
        confidence_level=resampling.confidence,
        method="percentile",
        rng=np.random.default_rng(resampling.seed),
    )
    interval = result.confidence_interval
    return Estimate(value, float(interval.low), float(interval.high), n)
