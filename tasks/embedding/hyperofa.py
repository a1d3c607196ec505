"""Rows by a network that has learnt from old tokens how words' vectors go with rows.

Source: HYPEROFA (Ozeren, Liu and Schuetze 2025, section 3): the words are those whose tokenization
holds the token; the loss is the absolute distance from the true row, as a share of the rows' mean
size, mixed with a contrastive one on cosines within the batch; the words of a token are thinned
out at random in training.

Dimensions: N = words (or tokens of a batch), S = width of the words' space, V = old vocabulary,
K = tokens that need rows, Y = width of what is made, T = steps.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn

from tasks.embedding.word_set_network import WordSetNetwork
from tasks.embedding.word_sets import WordSets
from tasks.shared.errors import InputError

DECAY, EPOCHS_PER_DECAY = 0.95, 10


class TooFewWordsError(InputError):
    """Hardly any old token is part of a word."""


class WordNetworkDivergedError(InputError):
    """The loss is no longer a number."""


@dataclass(frozen=True)
class HyperOfaSettings:
    """Sizes of the network, and how it is trained."""

    hidden: int
    dropout: float
    max_words: int
    n_epochs: int
    batch_tokens: int
    lr: float
    contrastive_weight: float
    temperature: float
    seed: int


def hyperofa(
    old: WordSets,
    new: WordSets,
    rows_VY: Float32[np.ndarray, "V Y"],
    settings: HyperOfaSettings,
    device: str = "cpu",
    progress: Callable[[int, float], None] = lambda done, loss: None,
) -> tuple[Float32[np.ndarray, "K Y"], Float32[np.ndarray, " T"]]:
    """Learn from old tokens that are part of some word and make rows for new ones that are.

    Args:
        old: words of every old token.
        new: words of every token that needs a row.
        rows_VY: old rows, or their coordinates in a subspace.
        settings: how.
        device: where to compute.
        progress: called after each epoch with epochs done and its mean loss.

    Returns:
        Rows, zeros where a token is part of no word, and the loss before each step.

    Raises:
        TooFewWordsError: fewer than two old tokens are part of a word.
        WordNetworkDivergedError: the loss is not finite.
    """
    taught = np.flatnonzero(old.words.lengths > 0)
    if len(taught) < 2:
        raise TooFewWordsError(
            f"{len(taught)} of {len(old.words)} old tokens are part of one of the "
            f"{len(old.vectors)} words; give word vectors that cover the source model's language "
            "too."
        )
    size = float(np.abs(rows_VY[taught]).mean())
    here = [torch.cuda.current_device()] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=here):
        torch.manual_seed(settings.seed)
        network = WordSetNetwork(
            old.vectors.shape[1], settings.hidden, rows_VY.shape[1], settings.dropout
        ).to(device)
        losses = _train(network, old, rows_VY / np.float32(size), taught, settings, progress)
    made_KY = np.zeros((len(new.words), rows_VY.shape[1]), np.float32)
    network.eval()
    found = np.flatnonzero(new.words.lengths > 0)
    with torch.no_grad():
        for start in range(0, len(found), settings.batch_tokens):
            tokens = found[start : start + settings.batch_tokens]
            made = _made(network, new, tokens, settings.max_words, None)
            made_KY[tokens] = made.cpu().numpy() * np.float32(size)
    return made_KY, losses


def _train(
    network: WordSetNetwork,
    old: WordSets,
    targets_VY: Float32[np.ndarray, "V Y"],
    taught: Int64[np.ndarray, " N"],
    settings: HyperOfaSettings,
    progress: Callable[[int, float], None],
) -> Float32[np.ndarray, " T"]:
    rng = np.random.default_rng(settings.seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.lr)
    device = next(network.parameters()).device
    losses: list[float] = []
    for epoch in range(settings.n_epochs):
        optimizer.param_groups[0]["lr"] = settings.lr * DECAY ** (epoch // EPOCHS_PER_DECAY)
        order, first = rng.permutation(taught), len(losses)
        for start in range(0, len(order), settings.batch_tokens):
            tokens = order[start : start + settings.batch_tokens]
            made_BY = _made(network, old, tokens, settings.max_words, rng)
            true_BY = torch.from_numpy(targets_VY[tokens]).to(device)
            loss = row_loss(made_BY, true_BY, settings.contrastive_weight, settings.temperature)
            losses.append(_finite(float(loss.detach()), epoch, settings.lr))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        progress(epoch + 1, float(np.mean(losses[first:])))
    return np.array(losses, np.float32)


def _made(
    network: WordSetNetwork,
    sets: WordSets,
    tokens: Int64[np.ndarray, " B"],
    max_words: int,
    rng: np.random.Generator | None,
) -> Float[Tensor, "B Y"]:
    vectors_BTS, n_words_B = sets.read(tokens, max_words, rng)
    device = next(network.parameters()).device
    return network(torch.from_numpy(vectors_BTS).to(device), torch.from_numpy(n_words_B))


def row_loss(
    made_BY: Float[Tensor, "B Y"],
    true_BY: Float[Tensor, "B Y"],
    contrastive_weight: float,
    temperature: float,
) -> Float[Tensor, ""]:
    """Absolute distance, in mean sizes of the true rows' entries, and InfoNCE of the cosines."""
    distance = (made_BY - true_BY).abs().mean() / true_BY.abs().mean()
    normalise = nn.functional.normalize
    cosines_BB = normalise(made_BY, dim=1) @ normalise(true_BY, dim=1).T
    own_B = torch.arange(len(made_BY), device=made_BY.device)
    contrast = nn.functional.cross_entropy(cosines_BB / temperature, own_B)
    return contrastive_weight * contrast + (1 - contrastive_weight) * distance


def _finite(loss: float, epoch: int, lr: float) -> float:
    if not math.isfinite(loss):
        raise WordNetworkDivergedError(
            f"the loss of the word network is {loss} in epoch {epoch + 1} with lr={lr}; lower lr."
        )
    return loss
