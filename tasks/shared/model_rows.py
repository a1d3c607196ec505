"""Where a model keeps the rows that belong to tokens: tensor names, tying, head bias.

The names come from the model class itself, built on torch's meta device, so no weight is read
and no architecture is listed here by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.shared.errors import InputError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


class RowNamesError(InputError):
    """The model class has no input embedding or no output head that a tokenizer could change."""


@dataclass(frozen=True)
class RowNames:
    """Names in the checkpoint of all tensors with one row (or one value) a token."""

    input: str
    """Input embedding, (V, D)."""
    head: str
    """Output head, (V, D). A tied checkpoint holds no tensor of this name."""
    head_bias: str | None
    """Bias of the output head, (V,), where the architecture has one."""
    tied: bool
    """Whether the head is the input embedding itself."""


def find_row_names(folder: Path) -> RowNames:
    """Read ``config.json`` in ``folder`` and name the tensors that have one row a token.

    Raises:
        RowNamesError: transformers does not know the class, it has no embedding or no head, or
            it keeps values of tokens in yet another place.
    """
    import torch
    import transformers

    config = transformers.AutoConfig.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    architectures: list[str] = list(getattr(config, "architectures", None) or [])
    model_class = getattr(transformers, architectures[0], None) if architectures else None
    if model_class is None:
        raise RowNamesError(
            f"{folder / 'config.json'} names architectures {architectures}, none of which this "
            "transformers version has; name a class such as LlamaForCausalLM there."
        )
    with torch.device("meta"):
        model = model_class(config)
    model.tie_weights()
    embedding: nn.Module | None = model.get_input_embeddings()
    head: nn.Module | None = model.get_output_embeddings()
    if embedding is None or head is None:
        raise RowNamesError(
            f"{architectures[0]} has no {'input embedding' if embedding is None else 'output head'}"
            "; a tokenizer can only be given to a model with both. Use its ...ForCausalLM class."
        )
    _refuse_values_elsewhere(model, architectures[0])
    # Of parameters that are one, the first name is the one a checkpoint holds.
    stored = {id(parameter): name for name, parameter in model.named_parameters()}
    modules = {id(module): name for name, module in model.named_modules()}
    tied = bool(config.get_text_config().tie_word_embeddings) and head.weight is embedding.weight
    bias = getattr(head, "bias", None)
    return RowNames(
        input=stored[id(embedding.weight)],
        head=f"{modules[id(head)]}.weight" if tied else stored[id(head.weight)],
        head_bias=None if bias is None else stored[id(bias)],
        tied=tied,
    )


def _refuse_values_elsewhere(model: PreTrainedModel, architecture: str) -> None:
    """BART and its kin keep a bias of their logits in a buffer, which belongs to old tokens."""
    stored, n_rows = model.state_dict().keys(), model.config.get_text_config().vocab_size
    for name, buffer in model.named_buffers():
        if name in stored and buffer.shape[-1:] == (n_rows,) and buffer.numel() == n_rows:
            raise RowNamesError(
                f"{architecture} keeps {name}, a value for each old token beside its head, and "
                "such models cannot be given another tokenizer yet; use a decoder-only model, or "
                "T5 among encoder-decoders."
            )
