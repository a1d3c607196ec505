"""Head rows of new tokens by logistic regression on the states that stand before them.

The closed form gives a token the row of its first piece and a constant; what tells tokens of one
first piece apart by context is learnt here. Body, input rows and the head rows of old tokens stay.
The sum over the vocabulary is estimated from the batch's own tokens and a uniform draw of others.
Source: own; with given states and all tokens it is multinomial logistic regression.

Dimensions: W = new vocabulary, K = tokens whose rows may move, S = steps, N = positions,
C = candidates, D = model width.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor, nn

from tasks.embedding.next_token import Candidates, candidate_loss
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
    """Peak rate of Adam; falls to zero along half a cosine."""
    seed: int


@dataclass(frozen=True)
class FittedHead:
    """Head rows after the fit."""

    rows: Float32[np.ndarray, "W D"]
    counts: Int64[np.ndarray, " W"]
    """How many next tokens were each of those that may move; of others, and where it is 0, the
    rows are as they came in, bit for bit."""
    loss: Float32[np.ndarray, " S"]
    """Nats of a next token before each step."""

    @property
    def measured(self) -> dict[str, int | float]:
        """Numbers for the stage's summary."""
        n_fitted = int((self.counts > 0).sum())
        if not len(self.loss):
            return {"n_head_fitted": n_fitted}
        ends = {"first": self.loss[0], "last": self.loss[-1]}
        return {
            "n_head_fitted": n_fitted,
            **{f"head_fit_{name}_loss": float(loss) for name, loss in ends.items()},
        }


@dataclass(frozen=True)
class FixedHead:
    """The head as it stands before the fit."""

    rows: Float32[np.ndarray, "W D"]
    bias: Float32[np.ndarray, " W"] | None
    logit_scale: float
    """What the model multiplies the head's output with."""


def fit_head(
    head: FixedHead,
    tokens_K: Int64[np.ndarray, " K"],
    parts: Iterable[States],
    n_positions: int,
    settings: FitSettings,
    progress: Callable[[int, int, float], None] = lambda done, total, loss: None,
) -> FittedHead:
    """Move the head rows of some tokens so that they are predicted where they come next.

    Args:
        head: rows of all tokens.
        tokens_K: those that may move.
        parts: states and next tokens; each part is gone through ``n_passes`` times.
        n_positions: next tokens of all parts, for the rate.
        settings: how to fit.
        progress: called after each step with steps done, about how many there are, and the loss.

    Raises:
        HeadFitDivergedError: the loss is not finite.
    """
    rng = np.random.default_rng([settings.seed, 1])
    n_steps = max(1, settings.n_passes * math.ceil(n_positions / settings.positions_per_step))
    slot_W = np.full(len(head.rows), -1, np.int64)
    slot_W[tokens_K] = np.arange(len(tokens_K))
    counts_W = np.zeros(len(head.rows), np.int64)
    fit: _Fit | None = None
    losses = list[float]()
    for part in parts:
        if fit is None:
            fit = _Fit.of(head, tokens_K, slot_W, part.states.device, settings.lr)
        np.add.at(counts_W, part.targets, 1)
        for at_N in _batches(len(part.targets), settings, rng):
            rate = (1 + math.cos(math.pi * min(1.0, len(losses) / n_steps))) / 2
            loss = fit.step(part, at_N, settings.n_negatives, settings.lr * rate, rng)
            losses.append(_finite(loss, len(losses), settings.lr))
            progress(len(losses), n_steps, losses[-1])
    counts_W[slot_W < 0] = 0
    rows_WD = head.rows.copy()
    if fit is not None:
        met = np.flatnonzero(counts_W)
        rows_WD[met] = fit.moving.weight.detach().cpu().numpy()[slot_W[met]]
    return FittedHead(rows_WD, counts_W, np.array(losses, np.float32))


@dataclass(frozen=True)
class _Fit:
    """Rows that move, those that do not, and the optimizer between two steps."""

    fixed: Float32[Tensor, "W D"]
    bias: Float32[Tensor, " W"]
    logit_scale: float
    moving: nn.Embedding
    slot: Int64[np.ndarray, " W"]
    optimizer: torch.optim.SparseAdam

    @classmethod
    def of(
        cls,
        head: FixedHead,
        tokens_K: Int64[np.ndarray, " K"],
        slot_W: Int64[np.ndarray, " W"],
        device: torch.device,
        lr: float,
    ) -> "_Fit":
        moving = nn.Embedding.from_pretrained(
            torch.tensor(head.rows[tokens_K], device=device), freeze=False, sparse=True
        )
        bias_W = np.zeros(len(head.rows), np.float32) if head.bias is None else head.bias
        # Adam that moves only rows with a gradient: a row's rare turns are not blurred by decay.
        optimizer = torch.optim.SparseAdam(list(moving.parameters()), lr=lr)
        fixed, bias = (torch.from_numpy(part).to(device) for part in (head.rows, bias_W))
        return cls(fixed, bias, head.logit_scale, moving, slot_W, optimizer)

    def step(
        self,
        part: States,
        at_N: Int64[np.ndarray, " N"],
        n_negatives: int,
        rate: float,
        rng: np.random.Generator,
    ) -> float:
        """One step; returns the loss before it."""
        own, slot_N = np.unique(part.targets[at_N], return_inverse=True)
        others = np.setdiff1d(rng.integers(len(self.slot), size=n_negatives), own)
        tokens_C = np.append(own, others)
        candidates = Candidates(
            self._rows(tokens_C),
            self.bias[torch.from_numpy(tokens_C).to(self.bias.device)],
            len(own),
            len(self.slot),
        )
        device = part.states.device
        states_ND = part.states[torch.from_numpy(at_N).to(device)]
        loss = candidate_loss(
            states_ND, torch.from_numpy(slot_N).to(device), candidates, self.logit_scale
        )
        self.optimizer.param_groups[0]["lr"] = rate
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    def _rows(self, tokens_C: Int64[np.ndarray, " C"]) -> Float[Tensor, "C D"]:
        device = self.fixed.device
        slot_C = torch.from_numpy(self.slot[tokens_C]).to(device)
        is_moving_C: Bool[Tensor, " C"] = slot_C >= 0
        rows_CD = self.fixed[torch.from_numpy(tokens_C).to(device)]
        return rows_CD.index_put((is_moving_C,), self.moving(slot_C[is_moving_C]))


def _batches(
    n: int, settings: FitSettings, rng: np.random.Generator
) -> Iterable[Int64[np.ndarray, " N"]]:
    for _ in range(settings.n_passes):
        order = rng.permutation(n)
        for start in range(0, n, settings.positions_per_step):
            yield order[start : start + settings.positions_per_step]


def _finite(loss: float, step: int, lr: float) -> float:
    if not math.isfinite(loss):
        raise HeadFitDivergedError(
            f"the loss of the head is {loss} at step {step + 1} with lr={lr}; lower head_fit.lr, "
            "or compute in float32."
        )
    return loss
