"""Input rows trained until the frozen model reads new tokens as it read their pieces.

The same text is cut by the old tokenizer and by the new one. Where both have a boundary, the
model's hidden state over new tokens is brought to the one over old tokens by moving the rows of
new tokens, and nothing else.
Source: Token Distillation (Dobler, Elliott and de Melo 2025). It trains on snippets around each
token and compares the positions behind it; here running text teaches all new tokens at once, at
every shared boundary, and tokens are learnt as often as they occur.

Dimensions: W = new vocabulary, K = tokens that need rows, B = windows, L = tokens of a window,
D = model width, P = shared boundaries of a batch, S = steps.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int32, Int64
from torch import Tensor, nn
from transformers import PreTrainedModel

from tasks.embedding.frozen_body import FrozenBody, frozen_body
from tasks.embedding.paired_batches import Batch, draw_batches
from tasks.embedding.state_distance import state_distance
from tasks.embedding.two_cuts import PairedWindow
from tasks.shared.errors import InputError


class NothingToDistilError(InputError):
    """No window of text holds a new token."""


class DistillationDivergedError(InputError):
    """The loss is no longer a number."""


@dataclass(frozen=True)
class DistillationSettings:
    """How long and how fast rows are trained."""

    n_steps: int
    windows_per_step: int
    lr: float
    """Peak rate of Adam; falls to zero along half a cosine."""
    n_layers: int | None
    """Layers of the body that run; None runs all."""
    compute_dtype: torch.dtype
    """Of matrix products: float32 or bfloat16."""
    seed: int
    """Chooses the order of windows."""


@dataclass(frozen=True)
class DistilledRows:
    """Rows after training."""

    input: Float32[np.ndarray, "K D"]
    seen: Bool[np.ndarray, " K"]
    """Tokens that were trained; the other rows are as they came in, bit for bit."""
    loss: Float32[np.ndarray, " S"]
    """Squared distance of states before each step, as a share of their variance."""


def distil_rows(
    model: PreTrainedModel,
    windows: Sequence[PairedWindow],
    start_KD: Float32[np.ndarray, "K D"],
    tokens_K: Int64[np.ndarray, " K"],
    match_W: Int32[np.ndarray, " W"],
    settings: DistillationSettings,
    progress: Callable[[int, float], None] = lambda done, loss: None,
) -> DistilledRows:
    """Train the rows of new tokens.

    Args:
        model: source model in evaluation mode; it is left as it was.
        windows: text under both tokenizers; those without a new token are passed over.
        start_KD: rows to start from, as the checkpoint stores rows.
        tokens_K: new ids of these rows: all that occur in the text and have no match.
        match_W: old id of the same token, negative where there is none.
        settings: how to train.
        progress: called after each step with steps done and the loss before it.

    Raises:
        NothingToDistilError: no window holds a token of ``tokens_K``.
        DistillationDivergedError: the loss is not finite.
    """
    slot_W = np.full(len(match_W), -1, np.int64)
    slot_W[tokens_K] = np.arange(len(tokens_K))
    teaching = [window for window in windows if (slot_W[window.new] >= 0).any()]
    if not teaching:
        raise NothingToDistilError(
            f"none of {len(windows)} windows of text holds one of the {len(tokens_K)} new tokens; "
            "give text that the new tokenizer was trained for, or more of it."
        )
    rows = nn.Embedding.from_pretrained(
        torch.tensor(start_KD, device=model.device), freeze=False, sparse=True
    )
    # Adam that moves only rows with a gradient: a row's rare turns are not blurred by decay.
    optimizer = torch.optim.SparseAdam(list(rows.parameters()), lr=settings.lr)
    seen_K = np.zeros(len(tokens_K), dtype=bool)
    losses: list[float] = []
    batches = draw_batches(teaching, settings.windows_per_step, settings.n_steps, settings.seed)
    with frozen_body(model, settings.n_layers) as body:
        for step, batch in enumerate(batches):
            rate = settings.lr * (1 + math.cos(math.pi * step / settings.n_steps)) / 2
            optimizer.param_groups[0]["lr"] = rate
            slots_BL = slot_W[batch.new]
            loss = _loss(body, rows, batch, slots_BL, match_W, settings.compute_dtype)
            losses.append(_finite(float(loss.detach()), step, settings.lr))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            seen_K[slots_BL[(slots_BL >= 0) & batch.is_text]] = True
            progress(step + 1, losses[-1])
    trained_KD = rows.weight.detach().cpu().numpy()
    return DistilledRows(trained_KD, seen_K, np.array(losses, np.float32))


def _loss(
    body: FrozenBody,
    rows: nn.Embedding,
    batch: Batch,
    slots_BL: Int64[np.ndarray, "B L"],
    match_W: Int32[np.ndarray, " W"],
    dtype: torch.dtype,
) -> Float[Tensor, ""]:
    """Distance of the states over new tokens from those over old pieces."""
    device = body.table.weight.device
    slots = torch.from_numpy(slots_BL).to(device)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        is_new = slots >= 0
        old = torch.from_numpy(match_W[batch.new]).to(device, torch.int64)
        old_BLD = body.old_rows(old.clamp(min=0))
        rows_BLD = old_BLD.index_put((is_new,), rows(slots[is_new]))
        return state_distance(body, batch, rows_BLD)


def _finite(loss: float, step: int, lr: float) -> float:
    if not math.isfinite(loss):
        raise DistillationDivergedError(
            f"the distance of hidden states is {loss} at step {step + 1} with lr={lr}; lower lr, "
            "or compute in float32."
        )
    return loss
