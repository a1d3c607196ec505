"""Train a row network on text, with old rows beside it.

The loss is what the text teaches and a multiple of the distance of made rows from true ones, as in
ZeTT (Minixhofer, Ponti and Vulic 2024, section 3), whose settings of AdamW and clipping are taken.

Dimensions: T = steps, Q = tokens of a batch whose rows are made, S = sides, D = model width.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32
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
    """How long and how fast a network trains."""

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
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=steps.lr, betas=BETAS, weight_decay=WEIGHT_DECAY
    )
    device = network.mean.device.type
    is_bfloat16 = steps.compute_dtype == torch.bfloat16
    losses: list[float] = []
    for step, batch in enumerate(batches):
        optimizer.param_groups[0]["lr"] = steps.rate(step)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=is_bfloat16):
            of_text, made_QSD = teacher.loss(network, batch, rng)
            distance = _distance(network, old, batch, made_QSD, steps.rows_per_step, rng)
        losses.append(_finite(float(of_text.detach()), step, steps.lr))
        (of_text + auxiliary_weight * distance).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), MAX_GRADIENT_NORM)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        progress(step + 1, losses[-1])
    return np.array(losses, np.float32)


def _distance(
    network: RowNetwork,
    old: OldRows,
    batch: SampledBatch,
    made_QSD: Float[Tensor, "Q S D"],
    n_tokens: int,
    rng: np.random.Generator,
) -> Float[Tensor, ""]:
    """Mean of the distance over drawn old tokens and of that over hidden ones of the text."""
    drawn = old.loss(network, n_tokens, rng)
    known = np.flatnonzero(batch.hidden >= 0)
    if not len(known):
        return drawn
    made = made_QSD[torch.from_numpy(known).to(made_QSD.device)]
    return (drawn + old.distance(network, made, batch.hidden[known])) / 2


def _finite(loss: float, step: int, lr: float) -> float:
    if not math.isfinite(loss):
        raise NetworkDivergedError(
            f"the loss of the network is {loss} at step {step + 1} with lr={lr}; lower lr, or "
            "compute in float32."
        )
    return loss
