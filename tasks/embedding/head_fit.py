"""Head rows of new tokens by logistic regression on the states that stand before them.

The closed form gives a token the row of its first piece and a constant; what tells tokens of one
first piece apart by context is learnt here, in two parts: a linear map from input rows to head rows
that many tokens share, which needs little text and moves tokens that the text never has, and what
each token's own row has beyond it. The sum over the vocabulary is estimated from the batch's own
tokens and a uniform draw of others.
Source: own; with given states and all tokens it is multinomial logistic regression.

Dimensions: W = new vocabulary, S = steps, N = positions, D = model width.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64

from tasks.embedding.moving_head import FixedHead, Movable, MovingHead
from tasks.embedding.states_of_text import States
from tasks.shared.errors import InputError


class HeadFitDivergedError(InputError):
    """The loss is no longer a number."""


@dataclass(frozen=True)
class FitSettings:
    """How head rows are fitted."""

    n_passes: int
    positions_per_step: int
    n_negatives: int
    lr: float
    """Peak rate of Adam for single rows; falls to zero along half a cosine."""
    lr_map: float | None
    """Likewise for the shared map; None: there is none."""
    seed: int


@dataclass(frozen=True)
class FittedHead:
    """Head rows after the fit."""

    rows: Float32[np.ndarray, "W D"]
    counts: Int64[np.ndarray, " W"]
    """How many next tokens were each of those whose own rows may move."""
    is_moved: Bool[np.ndarray, " W"]
    """By itself or by the map; all others are as they came in, bit for bit."""
    loss: Float32[np.ndarray, " S"]
    """Nats of a next token before each step."""

    @property
    def measured(self) -> dict[str, int | float]:
        """Numbers for the stage's summary."""
        n_rows: dict[str, int | float] = {
            "n_head_fitted": int((self.counts > 0).sum()),
            "n_head_moved_by_map_alone": int((self.is_moved & (self.counts == 0)).sum()),
        }
        if not len(self.loss):
            return n_rows
        ends = {"first": self.loss[0], "last": self.loss[-1]}
        return {
            **n_rows,
            **{f"head_fit_{name}_loss": float(loss) for name, loss in ends.items()},
        }


def fit_head(
    head: FixedHead,
    movable: Movable,
    states: States,
    device: torch.device | str,
    settings: FitSettings,
    progress: Callable[[int, int, float], None] = lambda done, total, loss: None,
) -> FittedHead:
    """Move the head rows of some tokens so that they are predicted where they come next.

    Args:
        head: rows of all tokens.
        movable: those that may move.
        states: what the head receives, and next tokens.
        device: where to compute.
        settings: how to fit.
        progress: called after each step with steps done, how many there are, and the loss.

    Raises:
        HeadFitDivergedError: the loss is not finite.
    """
    rng = np.random.default_rng([settings.seed, 1])
    n = len(states.targets)
    counts_W = np.bincount(states.targets, minlength=len(head.rows))
    # A row that never comes next could only learn to stay away, from having been drawn.
    movable = replace(movable, own=movable.own[counts_W[movable.own] > 0])
    n_steps = settings.n_passes * math.ceil(n / settings.positions_per_step)
    fit = MovingHead.of(head, movable, torch.device(device), settings.lr, settings.lr_map)
    losses = list[float]()
    for at_N in _batches(n, settings, rng):
        rate = (1 + math.cos(math.pi * len(losses) / n_steps)) / 2
        loss = fit.step(states, at_N, settings.n_negatives, rate, rng)
        losses.append(_finite(loss, len(losses), settings))
        progress(len(losses), n_steps, losses[-1])
    is_moved_W = np.zeros(len(head.rows), np.bool_)
    is_moved_W[movable.own] = True
    counts_W[~is_moved_W] = 0
    is_moved_W[movable.mapped] |= n > 0 and fit.map is not None
    return FittedHead(fit.result(), counts_W, is_moved_W, np.array(losses, np.float32))


def _batches(
    n: int, settings: FitSettings, rng: np.random.Generator
) -> Iterable[Int64[np.ndarray, " N"]]:
    for _ in range(settings.n_passes):
        order = rng.permutation(n)
        for start in range(0, n, settings.positions_per_step):
            yield order[start : start + settings.positions_per_step]


def _finite(loss: float, step: int, settings: FitSettings) -> float:
    if not math.isfinite(loss):
        raise HeadFitDivergedError(
            f"the loss of the head is {loss} at step {step + 1} with lr={settings.lr} and "
            f"lr_map={settings.lr_map}; lower them in head_fit, or compute in float32."
        )
    return loss
