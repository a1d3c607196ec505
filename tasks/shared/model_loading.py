"""A causal language model and its tokenizer from a local folder, the way any user loads them.

Plain transformers, nothing of ours in between: what is measured here is what ships.
"""

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging as transformers_logging

from tasks.shared.causality import check_causal
from tasks.shared.errors import InputError
from tasks.shared.text_tokenizer import TextTokenizer, open_tokenizer
from tasks.shared.vocabulary_file import TokenizerFileError


class ModelFolderError(InputError):
    """A folder does not hold a complete model in safetensors with its tokenizer."""


def load_causal_lm(
    folder: Path, dtype: torch.dtype | None = None, device: str | torch.device = "cpu"
) -> PreTrainedModel:
    """Load a model in eval mode, from local files alone and without a line on stderr.

    Args:
        folder: holds ``config.json`` and ``*.safetensors``.
        dtype: of the weights; None keeps the dtype they are stored in.
        device: where they go.

    Returns:
        The model, complete: no parameter was left to chance.

    Raises:
        ModelFolderError: a file is missing, truncated, or lacks a parameter.
        NotCausalError: the model sees what stands to the right of a token too.
    """
    _check_weights(folder)
    check_causal(folder)
    model = _load(folder, AutoModelForCausalLM, dtype)
    model.eval()
    model.to(device)  # pyright: ignore[reportArgumentType]
    return model


def load_complete(folder: Path, model_class: type[PreTrainedModel]) -> PreTrainedModel:
    """Load a model of any class, causal or not, in the dtype it is stored in.

    Raises:
        ModelFolderError: a file is missing, truncated, or lacks a parameter.
    """
    _check_weights(folder)
    return _load(folder, model_class, None)


def load_tokenizer(folder: Path) -> TextTokenizer:
    """Load ``tokenizer.json`` for encoding running text, exactly where the folder does.

    Truncation and padding are off, and a special token's name inside a text is text: a document
    that quotes ``<|endoftext|>`` must not end there.

    Raises:
        ModelFolderError: the file is missing or cannot be read.
        ScaffoldFileError: the ``scaffold.json`` that it needs is absent or broken.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ModelFolderError(f"{folder} has no tokenizer.json; export the model's tokenizer too.")
    try:
        tokenizer = open_tokenizer(folder)
    except TokenizerFileError as error:
        raise ModelFolderError(
            f"{path} is no readable tokenizer ({error}); write it again with tokenizers >= 0.23."
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


def _load(
    folder: Path,
    model_class: type[PreTrainedModel] | type[AutoModelForCausalLM],
    dtype: torch.dtype | None,
) -> PreTrainedModel:
    with _quiet_transformers():
        loaded: object = model_class.from_pretrained(
            folder,
            dtype=dtype or "auto",
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    model, info = cast(tuple[PreTrainedModel, dict[str, Any]], loaded)
    # transformers fills a missing parameter with random numbers and only warns.
    if missing := sorted(info["missing_keys"]):
        raise ModelFolderError(
            f"{folder} lacks {len(missing)} parameters of its architecture (first: "
            f"{missing[:3]}); write the model again, whole."
        )
    return model


def _check_weights(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise ModelFolderError(f"{folder} has no config.json; name a folder that holds a model.")
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelFolderError(
            f"{folder} has no *.safetensors file, the only weight format read here; convert the "
            "model to safetensors."
        )
    for file in files:
        try:
            with safe_open(file, framework="pt"):
                pass
        except SafetensorError as error:
            raise ModelFolderError(
                f"{file} is truncated or damaged ({error}); fetch or write it again."
            ) from error


@contextlib.contextmanager
def _quiet_transformers() -> Generator[None]:
    """Silence the load report and the progress bar; both are checked or shown by us."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
