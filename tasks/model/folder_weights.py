"""The weights of a model folder under the names that the model class gives them.

Old checkpoints use other names (GPT-2's have no ``transformer.`` in front), and transformers
renames them while loading. Later stages see one form only, so the renaming happens here, once.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
import transformers
from torch import Tensor
from transformers import PreTrainedModel

from tasks.model.model_folder import UnsupportedModelFolderError
from tasks.shared.model_loading import load_complete


def model_class_of(folder: Path) -> type[PreTrainedModel]:
    """The class that config.json names.

    Raises:
        UnsupportedModelFolderError: transformers has no such class of its own.
    """
    try:
        config = transformers.AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (ValueError, OSError, KeyError) as error:
        raise UnsupportedModelFolderError(
            f"{folder / 'config.json'} is not understood by transformers "
            f"{transformers.__version__} ({str(error).splitlines()[0]}); code that comes with a "
            "model is never run here."
        ) from error
    names: list[str] = list(getattr(config, "architectures", None) or [])
    found = getattr(transformers, names[0], None) if names else None
    if found is None:
        raise UnsupportedModelFolderError(
            f"{folder / 'config.json'} names architectures {names}, but one class of transformers "
            f"{transformers.__version__} is needed, such as LlamaForCausalLM."
        )
    return found


def names_of_parameters(folder: Path) -> list[tuple[str, ...]]:
    """All names of each parameter of the model; a tied one has several."""
    config = transformers.AutoConfig.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    with torch.device("meta"):
        model = model_class_of(folder)(config)
    model.tie_weights()
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return [tuple(group) for group in names.values()]


def named_weights(
    folder: Path,
    stored: Sequence[str],
    read: Callable[[str], Tensor],
    parameters: Sequence[tuple[str, ...]],
) -> Iterator[tuple[str, Tensor]]:
    """Each parameter once, under its first name, bit for bit as stored.

    Args:
        folder: the model folder, with config.json and safetensors.
        stored: names in the checkpoint.
        read: gives the tensor of a stored name.
        parameters: from ``names_of_parameters``.
    """
    left = set(stored)
    plain = all(left.intersection(group) for group in parameters)
    if plain and left <= {name for group in parameters for name in group}:
        for group in parameters:
            yield group[0], read(next(name for name in group if name in left))
        return
    dtypes = {str(read(name).dtype) for name in stored if read(name).is_floating_point()}
    if len(dtypes) > 1:
        raise UnsupportedModelFolderError(
            f"{folder}: its tensor names need renaming, and its weights mix {sorted(dtypes)}; load "
            "it with transformers and write it again with save_pretrained()."
        )
    values = load_complete(folder, model_class_of(folder)).state_dict()
    for group in parameters:
        yield group[0], values[group[0]]
