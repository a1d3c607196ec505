"""Config and weights of a GGUF model under the names transformers gives them.

The tables of config keys, tensor names and tensor layouts (llama.cpp permutes the rows of q and k,
for one) are transformers' own. What it does not place it drops without a word; here that is an
error, since a dropped tensor is a different model.
"""

from collections.abc import Iterator
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_gguf_pytorch_utils import (
    TENSOR_PROCESSORS,
    TensorProcessor,
    get_gguf_hf_weights_map,
    load_gguf_checkpoint,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from tasks.model.gguf_rope import ROPE_FACTORS_NAME, rope_scaling_of
from tasks.shared.gguf_file import GgufFile, GgufFileError, UnsupportedGgufError, unpack

SUPPORTED_ARCHITECTURES = (
    "gemma2",
    "gemma3",
    "gpt2",
    "llama",
    "phi3",
    "qwen2",
    "qwen3",
    "starcoder2",
)
"""Those whose import is tested to equal transformers' own loading, weight by weight."""

_NO_CONFIG_FIELDS = ("_model_name_or_path", "unk_token_id")


def read_config(gguf: GgufFile, dtype: torch.dtype) -> PretrainedConfig:
    """The model's config, as transformers would build it.

    Raises:
        UnsupportedGgufError: the architecture is not among ``SUPPORTED_ARCHITECTURES``, or it
            stretches its positions in a way that GGUF states and transformers would lose.
    """
    if gguf.architecture not in SUPPORTED_ARCHITECTURES:
        raise UnsupportedGgufError(
            f"{gguf.path} is of architecture {gguf.architecture!r}; GGUF import knows "
            f"{', '.join(SUPPORTED_ARCHITECTURES)}. Import its safetensors form instead."
        )
    fields: dict[str, Any] = load_gguf_checkpoint(str(gguf.path))["config"]
    fields = {key: value for key, value in fields.items() if key not in _NO_CONFIG_FIELDS}
    model_type = fields.pop("model_type")
    if scaling := rope_scaling_of(gguf):
        fields["rope_scaling"] = {"rope_theta": fields.get("rope_theta"), **scaling}
    config = transformers.AutoConfig.for_model(model_type, **fields)
    config.architectures = [MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[model_type]]
    config.dtype = dtype
    return config


def unpacked_tensors(
    gguf: GgufFile, config: PretrainedConfig, dtype: torch.dtype
) -> Iterator[tuple[str, Tensor]]:
    """Every weight by its name in transformers, one at a time, in the order of the file.

    Raises:
        UnsupportedGgufError: the file holds a tensor that has no place in the model.
        GgufFileError: the file lacks a tensor that the model needs, or one has another shape.
    """
    with torch.device("meta"):
        model: PreTrainedModel = getattr(transformers, str((config.architectures or [""])[0]))(
            config
        )
    model.tie_weights()
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    processor = TENSOR_PROCESSORS.get(gguf.architecture, TensorProcessor)(config=config.to_dict())
    names: dict[str, str] = get_gguf_hf_weights_map(model, processor)
    _refuse_homeless(gguf, names)
    seen: set[str] = set()
    for tensor in gguf.tensors:
        if tensor.name == ROPE_FACTORS_NAME:
            continue
        set_aside: dict[str, Any] = {"tensors": {}}
        result = processor.process(
            weights=unpack(tensor),
            name=tensor.name,
            tensor_key_mapping=names,
            parsed_parameters=set_aside,
        )
        placed = dict(set_aside["tensors"])
        home: Any = result.name
        if home is not None:
            placed[names[home]] = torch.from_numpy(result.weights)
        for name, values in placed.items():
            if tuple(values.shape) != shapes[name]:
                raise GgufFileError(
                    f"{gguf.path}: {tensor.name} has shape {tuple(values.shape)}, but its own "
                    f"metadata makes {name} {shapes[name]}; the file is inconsistent."
                )
            seen.add(name)
            yield name, values.to(dtype).contiguous()
    _refuse_incomplete(gguf, model, seen)


def _refuse_homeless(gguf: GgufFile, names: dict[str, str]) -> None:
    known = {*names, ROPE_FACTORS_NAME, "output.weight"}
    if homeless := [tensor.name for tensor in gguf.tensors if tensor.name not in known]:
        raise UnsupportedGgufError(
            f"{gguf.path} holds {len(homeless)} tensors without a place in transformers' "
            f"{gguf.architecture} (first: {homeless[:3]}); import its safetensors form instead."
        )


def _refuse_incomplete(gguf: GgufFile, model: PreTrainedModel, seen: set[str]) -> None:
    # A tied parameter appears under several names; one of them is enough.
    names_of: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names_of.setdefault(id(parameter), []).append(name)
    missing = [names[0] for names in names_of.values() if not seen.intersection(names)]
    if missing:
        raise GgufFileError(
            f"{gguf.path} lacks {len(missing)} weights of {gguf.architecture} (first: "
            f"{missing[:3]}); it may be one part of a split file: join the parts first."
        )
