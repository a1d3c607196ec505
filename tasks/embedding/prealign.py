"""Input rows trained until the frozen model reads a word as it reads its translation.

A word and its translation are read alone. In every layer, the mean state of the translation is to
be nearer to that of its word than to those of the other words of the batch, and the reverse.
Source: PreAlign (Li et al. 2024, section 3.2), whose authors' code takes the mean of the layers'
losses at temperature 0.1. It trains the whole model with a language-modelling loss beside, before
any pretraining; here a pretrained model is given, and only the rows of new tokens move.

Dimensions: W = new vocabulary, K = tokens that need rows, B = pairs, L = tokens of a word,
D = model width, H = layers and their input, S = steps.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int32, Int64
from torch import Tensor, nn
from transformers import PreTrainedModel

from tasks.embedding.frozen_body import FrozenBody, frozen_body
from tasks.embedding.word_pairs import Side, WordPairs, batch_side, draw_pairs
from tasks.shared.errors import InputError


class AlignmentDivergedError(InputError):
    """The loss is no longer a number."""


@dataclass(frozen=True)
class AlignmentSettings:
    """How long and how fast rows are trained."""

    n_steps: int
    pairs_per_step: int
    lr: float
    """Peak rate of Adam; falls to zero along half a cosine."""
    temperature: float
    n_layers: int | None
    """Layers of the body that run; None runs all."""
    compute_dtype: torch.dtype
    """Of matrix products: float32 or bfloat16."""
    seed: int
    """Chooses the order of pairs."""


@dataclass(frozen=True)
class AlignedRows:
    """Rows after training."""

    input: Float32[np.ndarray, "K D"]
    seen: Bool[np.ndarray, " K"]
    """Tokens that were trained; the other rows are as they came in, bit for bit."""
    loss: Float32[np.ndarray, " S"]
    """Mean nats by which a translation is told from others, before each step."""


def align_rows(
    model: PreTrainedModel,
    pairs: WordPairs,
    start_KD: Float32[np.ndarray, "K D"],
    tokens_K: Int64[np.ndarray, " K"],
    match_W: Int32[np.ndarray, " W"],
    prefixes: tuple[int, int],
    settings: AlignmentSettings,
    progress: Callable[[int, float], None] = lambda done, loss: None,
) -> AlignedRows:
    """Train the rows of new tokens.

    Args:
        model: source model in evaluation mode; it is left as it was.
        pairs: words in old tokens, their translations in new ones.
        start_KD: rows to start from, as the checkpoint stores rows.
        tokens_K: new ids of these rows.
        match_W: old id of the same token, negative where there is none.
        prefixes: old and new id of the token before every text.
        settings: how to train.
        progress: called after each step with steps done and the loss before it.

    Raises:
        AlignmentDivergedError: the loss is not finite.
    """
    slot_W = np.full(len(match_W), -1, np.int64)
    slot_W[tokens_K] = np.arange(len(tokens_K))
    rows = nn.Embedding.from_pretrained(
        torch.tensor(start_KD, device=model.device), freeze=False, sparse=True
    )
    # Adam that moves only rows with a gradient: a row's rare turns are not blurred by decay.
    optimizer = torch.optim.SparseAdam(list(rows.parameters()), lr=settings.lr)
    seen_K = np.zeros(len(tokens_K), dtype=bool)
    losses: list[float] = []
    batches = draw_pairs(len(pairs), settings.pairs_per_step, settings.n_steps, settings.seed)
    with frozen_body(model, settings.n_layers) as body:
        for step, at_B in enumerate(batches):
            rate = settings.lr * (1 + math.cos(math.pi * step / settings.n_steps)) / 2
            optimizer.param_groups[0]["lr"] = rate
            old, new = (
                batch_side(words, at_B, prefix)
                for words, prefix in zip((pairs.old, pairs.new), prefixes, strict=True)
            )
            is_autocast = settings.compute_dtype == torch.bfloat16
            with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=is_autocast):
                with torch.no_grad():
                    wanted_HBD = word_states(body, body.old_rows(_put(old.ids, body)), old)
                found_HBD = word_states(body, _new_rows(body, rows, new, slot_W, match_W), new)
            same_BB = _same(pairs.word[at_B]) | _same(pairs.translation[at_B])
            loss = contrastive_loss(
                found_HBD, wanted_HBD, torch.from_numpy(same_BB), settings.temperature
            )
            losses.append(_finite(float(loss.detach()), step, settings.lr))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            slots = slot_W[new.ids[new.is_word]]
            seen_K[slots[slots >= 0]] = True
            progress(step + 1, losses[-1])
    trained_KD = rows.weight.detach().cpu().numpy()
    return AlignedRows(trained_KD, seen_K, np.array(losses, np.float32))


def word_states(
    body: FrozenBody, rows_BLD: Float[Tensor, "B L D"], side: Side
) -> Float[Tensor, "H B D"]:
    """Mean state of each word's tokens in every layer, and of their input rows."""
    is_word_BL1 = _put(side.is_word, body)[..., None].float()
    states_HBLD = body.states_of_layers(rows_BLD)
    return (states_HBLD * is_word_BL1).sum(dim=2) / is_word_BL1.sum(dim=1)


def contrastive_loss(
    found_HBD: Float[Tensor, "H B D"],
    wanted_HBD: Float[Tensor, "H B D"],
    same_BB: Bool[Tensor, "B B"],
    temperature: float,
) -> Float[Tensor, ""]:
    """InfoNCE over cosines in both directions, as the mean over layers.

    Args:
        found_HBD: states of translations.
        wanted_HBD: states of their words.
        same_BB: pairs that share a word; only the pair itself counts among them.
        temperature: of the softmax.
    """
    found, wanted = (nn.functional.normalize(part, dim=-1) for part in (found_HBD, wanted_HBD))
    scores_HBB = found @ wanted.transpose(1, 2) / temperature
    n_pairs = len(same_BB)
    itself_BB = torch.eye(n_pairs, dtype=torch.bool, device=scores_HBB.device)
    scores_HBB = scores_HBB.masked_fill(same_BB.to(scores_HBB.device) & ~itself_BB, -math.inf)
    right_HB = scores_HBB.diagonal(dim1=1, dim2=2)
    nats = scores_HBB.logsumexp(dim=2) + scores_HBB.logsumexp(dim=1) - 2 * right_HB
    return nats.mean() / 2


def _new_rows(
    body: FrozenBody,
    rows: nn.Embedding,
    side: Side,
    slot_W: Int64[np.ndarray, " W"],
    match_W: Int32[np.ndarray, " W"],
) -> Float[Tensor, "B L D"]:
    """Rows of new tokens where they are taught, else the old rows of the same tokens."""
    slots = _put(slot_W[side.ids], body)
    old = _put(match_W[side.ids], body).to(torch.int64).clamp(min=0)
    is_new = slots >= 0
    return body.old_rows(old).index_put((is_new,), rows(slots[is_new]))


def _put(array: np.ndarray, body: FrozenBody) -> Tensor:
    return torch.from_numpy(array).to(body.table.weight.device)


def _same(numbers_B: Int64[np.ndarray, " B"]) -> Bool[np.ndarray, "B B"]:
    return numbers_B[:, None] == numbers_B[None, :]


def _finite(loss: float, step: int, lr: float) -> float:
    if not math.isfinite(loss):
        raise AlignmentDivergedError(
            f"the contrastive loss is {loss} at step {step + 1} with lr={lr}; lower lr, or compute "
            "in float32."
        )
    return loss
