"""Cross-entropy of a language model's head in chunks, so that full logits never exist.

The gradient is computed with the loss, chunk by chunk, while the logits are at hand: three matrix
products instead of the four that recomputation in the backward pass would take.

Dimensions: N = positions, V = vocabulary, D = model width.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from tasks.pretraining.packing import IGNORED


@dataclass(frozen=True)
class LogitRule:
    """What an architecture does to its head's output: scale, then cap smoothly."""

    scale: float = 1.0
    softcap: float | None = None

    def apply_(self, logits: Tensor) -> Tensor:
        """Scale and cap in place."""
        if self.scale != 1.0:
            logits.mul_(self.scale)
        if self.softcap is not None:
            logits.div_(self.softcap).tanh_().mul_(self.softcap)
        return logits

    def slope(self, logits: Tensor) -> Tensor | None:
        """Derivative of the cap alone, given the logits after the rule; None for 1."""
        return None if self.softcap is None else 1.0 - (logits / self.softcap) ** 2


class _ChunkedNats(torch.autograd.Function):
    """Sum of nats, with the gradient of that sum kept for the backward pass."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        targets_N: Tensor,
        rule: LogitRule,
        chunk: int,
    ) -> Tensor:
        wants_hidden, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        device = hidden_ND.device.type
        dtype = hidden_ND.dtype
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
        nats = torch.zeros((), dtype=torch.float32, device=hidden_ND.device)
        grad_ND = torch.empty_like(hidden_ND) if wants_hidden else None
        grad_VD = torch.zeros_like(weight_VD) if wants_weight else None
        grad_V = torch.zeros_like(bias_V) if bias_V is not None and wants_bias else None
        with torch.autocast(device, enabled=False):
            head_VD = weight_VD.to(dtype)
            for at in range(0, hidden_ND.shape[0], chunk):
                here = slice(at, at + chunk)
                hidden_CD = hidden_ND[here].to(dtype)
                logits_CV = (hidden_CD @ head_VD.T).float()
                if bias_V is not None:
                    logits_CV += bias_V
                rule.apply_(logits_CV)
                valid_C1 = (targets_N[here] != IGNORED)[:, None].float()
                target_C1 = targets_N[here].clamp(min=0)[:, None]
                slope = rule.slope(logits_CV)
                log_CV = logits_CV.log_softmax(-1)
                nats -= (log_CV.gather(1, target_C1) * valid_C1).sum()
                if not (wants_hidden or wants_weight or wants_bias):
                    continue
                grad_CV = log_CV.exp_()
                grad_CV.scatter_add_(1, target_C1, torch.full_like(valid_C1, -1.0))
                if slope is not None:
                    grad_CV.mul_(slope)
                # Positions without a target are left out in the small factors, not in C x V.
                if grad_V is not None:
                    grad_V += (valid_C1.T @ grad_CV)[0] * rule.scale
                grad_CV = grad_CV.to(dtype)
                weight_C1 = (valid_C1 * rule.scale).to(dtype)
                if grad_ND is not None:
                    grad_ND[here] = (grad_CV @ head_VD) * weight_C1
                if grad_VD is not None:
                    grad_VD += grad_CV.T @ (hidden_CD * weight_C1)
        ctx.gradients = (grad_ND, grad_VD, grad_V)
        return nats

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        scaled = tuple(
            None if gradient is None else gradient.mul_(grad_outputs[0])
            for gradient in ctx.gradients
        )
        ctx.gradients = None  # scaled in place: a second pass would scale twice
        return (*scaled, None, None, None)


def head_nats(
    hidden_ND: Float[Tensor, "N D"],
    weight_VD: Float[Tensor, "V D"],
    bias_V: Float[Tensor, " V"] | None,
    targets_N: Int64[Tensor, " N"],
    rule: LogitRule,
    chunk: int,
) -> Float[Tensor, ""]:
    """Sum of nats of the targets that are not ``IGNORED``.

    Args:
        hidden_ND: the body's last hidden states.
        weight_VD: the head.
        bias_V: its bias, where the architecture has one.
        targets_N: the token after each position.
        rule: what the architecture does to logits.
        chunk: positions whose logits exist at one time.
    """
    return _ChunkedNats.apply(hidden_ND, weight_VD, bias_V, targets_N, rule, chunk)  # pyright: ignore[reportReturnType]
