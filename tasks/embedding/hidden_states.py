"""Final hidden states of a model on text, exactly as its head receives them.

Dimensions: N = positions, D = model width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor
from transformers import PreTrainedModel

from tasks.shared.errors import InputError

TOLERANCE = 1e-3


class NonlinearHeadError(InputError):
    """The model bends its logits after the head, so nothing can be added to one of them."""


@dataclass(frozen=True)
class HiddenStates:
    """States, and what the model multiplies the head's output with to get logits."""

    states: Float32[np.ndarray, "N D"]
    logit_scale: float


def read_hidden_states(
    model: PreTrainedModel,
    windows: Sequence[Sequence[int]],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> HiddenStates:
    """Run the model on windows of token ids and keep what enters its head.

    Args:
        model: source model, in evaluation mode.
        windows: token ids, each window a text of its own.
        progress: called with windows done and windows in all.

    Raises:
        NonlinearHeadError: the logits are no multiple of the head's output.
    """
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []

    def keep(_module: Any, args: tuple[Tensor, ...], output: Tensor) -> None:
        inputs.append(args[0][0].float().cpu())
        outputs[:] = [output[0].float()]

    head = cast(torch.nn.Module, model.get_output_embeddings())
    handle = head.register_forward_hook(keep)
    scale = 1.0
    try:
        with torch.inference_mode():
            for done, window in enumerate(windows, 1):
                ids = torch.tensor([list(window)], device=model.device)
                logits = model(input_ids=ids, use_cache=False).logits[0].float()
                if done == 1:
                    scale = _logit_scale(outputs[0], logits)
                progress(done, len(windows))
    finally:
        handle.remove()
    return HiddenStates(torch.cat(inputs).numpy(), scale)


def _logit_scale(output: Tensor, logits: Tensor) -> float:
    """Find the factor between the head's output and the logits."""
    scale = float((output * logits).sum() / (output * output).sum())
    residual = float((logits - scale * output).norm() / logits.norm())
    if residual > TOLERANCE:
        raise NonlinearHeadError(
            f"the model's logits differ from every multiple of its head's output by {residual:.1%} "
            "(logit soft-capping?), so neither a prior nor a fitted head suits them; use "
            "initialiser method mean_of_pieces, without head_fit."
        )
    return scale
