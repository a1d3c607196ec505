"""A direction that stands in for a head bias."""

import numpy as np
import pytest

from tasks.embedding.constant_direction import (
    NoConstantDirectionError,
    TooFewStatesError,
    constant_direction,
)


def states(n: int = 400, width: int = 6, seed: int = 0) -> np.ndarray:
    """Random states whose last entry is 2: the direction (0, ..., 0, 1/2) is constant."""
    hidden_ND = np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)
    hidden_ND[:, -1] = 2.0
    return hidden_ND


def test_known_direction_is_found():
    found = constant_direction(states(), ridge=1e-9, max_spread=0.25)
    np.testing.assert_allclose(found.direction, [0, 0, 0, 0, 0, 0.5], atol=1e-6)
    assert found.spread < 1e-6


def test_agrees_with_least_squares():
    hidden_ND = states() + np.random.default_rng(1).normal(size=(400, 6), scale=0.1)
    hidden_ND = hidden_ND.astype(np.float32)
    found = constant_direction(hidden_ND, ridge=1e-12, max_spread=0.25)
    oracle_D = np.linalg.lstsq(hidden_ND.astype(np.float64), np.ones(400), rcond=None)[0]
    oracle_D /= (hidden_ND @ oracle_D).mean()
    np.testing.assert_allclose(found.direction, oracle_D, atol=1e-6)
    assert (hidden_ND @ found.direction).mean() == pytest.approx(1.0)


def test_scaled_logits_need_a_smaller_step():
    once, fourfold = (constant_direction(states(), 1e-9, 0.25, scale) for scale in (1.0, 4.0))
    np.testing.assert_allclose(fourfold.direction, once.direction / 4)


def test_states_without_a_common_direction_are_refused():
    hidden_ND = np.random.default_rng(0).normal(size=(400, 6)).astype(np.float32)
    with pytest.raises(NoConstantDirectionError, match="use initialiser method mean_of_pieces"):
        constant_direction(hidden_ND, ridge=1e-3, max_spread=0.25)


def test_too_few_states_are_refused():
    with pytest.raises(TooFewStatesError, match="11 hidden states of width 6"):
        constant_direction(states(11), ridge=1e-3, max_spread=0.25)
