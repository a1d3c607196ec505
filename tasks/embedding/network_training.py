"""Train a row network, first on old rows alone, then on text with old rows beside it.

Both take the distance of made rows from true ones; the second adds what the text teaches. As in
ZeTT (Minixhofer, Ponti and Vulic 2024, sections 3 and 4): AdamW with its weights, a first stage
without the model, gradients clipped. There the first stage learns to give old tokens their own
rows back; here old tokens are taken apart first, as new ones will be.

Dimensions: T = steps.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from tasks.embedding.network_text import TextTeacher
from tasks.embedding.old_rows import OldRows
from tasks.embedding.row_network import RowNetwork
from tasks.embedding.sampled_batches import SampledBatch
from tasks.shared.errors import InputError

BETAS, WEIGHT_DECAY, MAX_GRADIENT_NORM = (0.9, 0.95), 0.01, 0.1
WARM_UP_SHARE = 0.1

Progress = Callable[[int, float], None]


class NetworkDivergedError(InputError):
    """The loss is no longer a number."""


@dataclass(frozen=True)
class Steps:
    """How long and how fast a stage trains."""

    n_steps: int
    lr: float
    """Peak rate; rises along a line at first, then falls to zero along half a cosine."""
    rows_per_step: int
    """Old tokens in a step."""
    compute_dtype: torch.dtype
    """Of matrix products: float32 or bfloat16."""

    def rate(self, step: int) -> float:
        """Rate of a step, counted from 0."""
        warm = WARM_UP_SHARE * self.n_steps
        rise = min(1.0, (step + 1) / (warm + 1))
        return self.lr * rise * (1 + math.cos(math.pi * step / self.n_steps)) / 2


def train_on_rows(
    network: RowNetwork, old: OldRows, steps: Steps, seed: int, progress: Progress
) -> Float32[np.ndarray, " T"]:
    """Train on old tokens that are taken apart.

    Args:
        network: is trained in place.
        old: what to learn.
        steps: how.
        seed: chooses tokens and how they are taken apart.
        progress: called after each step with steps done and the loss before it.

    Returns:
        Loss before each step.

    Raises:
        NetworkDivergedError: the loss is not finite.
    """
    rng = np.random.default_rng([seed, 3])
    return _train(network, steps, lambda _: old.loss(network, steps.rows_per_step, rng), progress)


def train_on_text(
    network: RowNetwork,
    old: OldRows,
    teacher: TextTeacher,
    batches: Iterator[SampledBatch],
    auxiliary_weight: float,
    steps: Steps,
    seed: int,
    progress: Progress,
) -> Float32[np.ndarray, " T"]:
    """Train on batches of text, and on old tokens beside each.

    The distance from known rows is the mean of that over old tokens hidden in the text and that
    over old tokens drawn from the vocabulary.

    Args:
        network: is trained in place.
        old: old rows.
        teacher: what text teaches.
        batches: as many as there are steps.
        auxiliary_weight: of the distance from known rows.
        steps: how.
        seed: chooses old tokens and negatives.
        progress: called after each step with steps done and the text's loss before it.

    Returns:
        The text's loss before each step.

    Raises:
        NetworkDivergedError: the loss is not finite.
    """
    rng = np.random.default_rng([seed, 4])
    of_text: list[float] = []

    def loss(_: int) -> Tensor:
        batch = next(batches)
        text, made_QSD = teacher.loss(network, batch, rng)
        of_text.append(float(text.detach()))
        if not auxiliary_weight:
            return text
        distance = old.loss(network, steps.rows_per_step, rng)
        known = np.flatnonzero(batch.hidden >= 0)
        if len(known):
            hidden = old.distance(network, made_QSD[torch.from_numpy(known)], batch.hidden[known])
            distance = (distance + hidden) / 2
        return text + auxiliary_weight * distance

    _train(network, steps, loss, lambda done, _: progress(done, of_text[-1]))
    return np.array(of_text, np.float32)


def _train(
    network: RowNetwork, steps: Steps, loss_of: Callable[[int], Tensor], progress: Progress
) -> Float32[np.ndarray, " T"]:
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=steps.lr, betas=BETAS, weight_decay=WEIGHT_DECAY
    )
    device = network.mean.device.type
    is_bfloat16 = steps.compute_dtype == torch.bfloat16
    losses: list[float] = []
    for step in range(steps.n_steps):
        optimizer.param_groups[0]["lr"] = steps.rate(step)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=is_bfloat16):
            loss = loss_of(step)
        losses.append(_finite(float(loss.detach()), step, steps.lr))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), MAX_GRADIENT_NORM)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        progress(step + 1, losses[-1])
    return np.array(losses, np.float32)


def _finite(loss: float, step: int, lr: float) -> float:
    if not math.isfinite(loss):
        raise NetworkDivergedError(
            f"the loss of the network is {loss} at step {step + 1} with lr={lr}; lower lr, or "
            "compute in float32."
        )
    return loss
