"""The body of a model, frozen, as a function from input rows to hidden states.

Only its first layers may run, with the final norm behind them: then deeper ones cost nothing, and
states of any depth have the scale that the norm gives them.

Dimensions: B = sequences, L = their length, D = model width, H = layers and their input.
"""

from collections.abc import Generator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from transformers import PreTrainedModel

from tasks.shared.errors import InputError

TOLERANCE = 1e-3


class UnknownBodyError(InputError):
    """A model is built in a way that cannot be fed input rows."""


class FrozenBody:
    """Runs the body of a causal model on input rows of one's own."""

    def __init__(self, model: PreTrainedModel) -> None:
        """Take the model in evaluation mode; its weights are not changed.

        Raises:
            UnknownBodyError: the model does more to input rows than to scale them.
        """
        self._body: nn.Module = model.base_model
        self.table: nn.Embedding = model.get_input_embeddings()  # pyright: ignore[reportAttributeAccessIssue]
        self._scale = _row_scale(self.table)

    def states(self, rows_BLD: Float[Tensor, "B L D"]) -> Float[Tensor, "B L D"]:
        """Hidden states behind each position; sequences are padded on the right."""
        # What is causal does not see the padding to its right, so no mask is needed.
        output = self._body(inputs_embeds=rows_BLD * self._scale, use_cache=False)
        return output.last_hidden_state.float()

    def states_of_layers(self, rows_BLD: Float[Tensor, "B L D"]) -> Float[Tensor, "H B L D"]:
        """The input rows as the body takes them, and hidden states behind each layer.

        The last are those behind the final norm.
        """
        output = self._body(
            inputs_embeds=rows_BLD * self._scale, use_cache=False, output_hidden_states=True
        )
        return torch.stack(output.hidden_states).float()

    def old_rows(self, ids_BL: Int64[Tensor, "B L"]) -> Float[Tensor, "B L D"]:
        """Rows as the checkpoint stores them."""
        return nn.functional.embedding(ids_BL, self.table.weight.detach()).float()


@contextmanager
def frozen_body(model: PreTrainedModel, n_layers: int | None) -> Generator[FrozenBody]:
    """Freeze the model and shorten its body for as long as the context lasts.

    Args:
        model: causal language model in evaluation mode.
        n_layers: layers that run; None runs all.

    Raises:
        UnknownBodyError: the model has fewer layers, or keeps them where they cannot be found.
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    layers = nn.ModuleList() if n_layers is None else _layers_of(model)
    if n_layers is not None and not 0 < n_layers <= len(layers):
        raise UnknownBodyError(
            f"n_layers={n_layers}, but the model has {len(layers)} layers; give 1 to {len(layers)}."
        )
    left_out = list(layers)[n_layers:]
    for parameter in trainable:
        parameter.requires_grad_(False)
    del layers[n_layers:]
    try:
        yield FrozenBody(model)
    finally:
        layers.extend(left_out)
        for parameter in trainable:
            parameter.requires_grad_(True)


def _layers_of(model: PreTrainedModel) -> nn.ModuleList:
    n_layers = model.config.get_text_config().num_hidden_layers
    for module in model.base_model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == n_layers:
            return module
    raise UnknownBodyError(
        f"{type(model).__name__} has no list of its {n_layers} layers, so it cannot be run in "
        "part; run all of them."
    )


def _row_scale(table: nn.Embedding) -> float:
    """Find what the model multiplies an input row with (Gemma: the root of its width)."""
    weight_VD = table.weight[: min(64, len(table.weight))].detach().float()
    with torch.no_grad():
        ids = torch.arange(len(weight_VD), device=weight_VD.device)
        seen_VD = table(ids).float()
    scale = float((seen_VD * weight_VD).sum() / (weight_VD * weight_VD).sum())
    if float((seen_VD - scale * weight_VD).norm()) > TOLERANCE * float(seen_VD.norm()):
        raise UnknownBodyError(
            f"{type(table).__name__} gives something else than a multiple of the stored rows, so "
            "new rows cannot be put in their place; use an initialiser that does not run the model."
        )
    return scale
