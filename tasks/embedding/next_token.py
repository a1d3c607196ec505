"""Next-token loss of a frozen body, on the tokens of a batch and some that stand for all others.

The head either has a row for every new token, or predicts the next token's first old piece: a
head row that is this piece's with a prior gives the token the piece's probability times a constant.

Dimensions: B = windows, L = new tokens of a window, N = positions, C = candidates, D = model width.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn


@dataclass(frozen=True)
class Candidates:
    """Tokens among which the next one is predicted."""

    rows: Float[Tensor, "C D"]
    """Their head rows."""
    bias: Float[Tensor, " C"]
    """What the head adds to their logits."""
    n_of_text: int
    """How many of them, in front, are the batch's own."""
    n_all: int
    """Size of the vocabulary they stand for."""

    def log_weights(self) -> Float[Tensor, " C"]:
        """Log of how many tokens each stands for: the batch's own for themselves alone."""
        n_others = len(self.rows) - self.n_of_text
        weights_C = torch.zeros(len(self.rows), device=self.rows.device)
        if n_others:
            weights_C[self.n_of_text :] = math.log((self.n_all - self.n_of_text) / n_others)
        return weights_C


def next_token_loss(
    states_BLD: Float[Tensor, "B L D"],
    targets_BL: Int64[np.ndarray, "B L"],
    is_text_BL: Bool[np.ndarray, "B L"],
    candidates: Candidates,
    logit_scale: float,
) -> Float[Tensor, ""]:
    """Mean of nats per token, each window by itself.

    Args:
        states_BLD: what enters the head at each token.
        targets_BL: the candidate that each token is.
        is_text_BL: which tokens are no padding.
        candidates: the batch's own tokens, and a uniform draw of others, which count as often in
            the denominator as they were unlikely to be drawn.
        logit_scale: what the model multiplies the head's output with.
    """
    device = states_BLD.device
    is_next = torch.from_numpy(is_text_BL[:, 1:]).to(device)
    targets_N = torch.from_numpy(targets_BL[:, 1:]).to(device)[is_next]
    return candidate_loss(states_BLD[:, :-1][is_next], targets_N, candidates, logit_scale)


def candidate_loss(
    states_ND: Float[Tensor, "N D"],
    targets_N: Int64[Tensor, " N"],
    candidates: Candidates,
    logit_scale: float,
) -> Float[Tensor, ""]:
    """Mean of nats per position; what ``next_token_loss`` is on windows."""
    logits_NC = states_ND @ candidates.rows.T
    logits_NC = logit_scale * (logits_NC.float() + candidates.bias)
    return nn.functional.cross_entropy(logits_NC + candidates.log_weights(), targets_N)
