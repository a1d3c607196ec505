"""Embeddings of short texts by a sentence encoder from a local folder.

The encoder's last states of a text, averaged over its tokens, as sentence-transformers calls mean
pooling (Reimers and Gurevych 2019, section 3). Plain transformers, whose folder such encoders
are.

Dimensions: T = texts, D = distinct ones, S = width of the encoder.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from huggingface_hub.errors import StrictDataclassError
from jaxtyping import Float32
from safetensors import SafetensorError
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from tasks.embedding.encoder_files import POOLING, SentenceEncoderError

BATCH_TEXTS = 256
MAX_TOKENS = 64
"""A token's text is shorter; what is longer is cut."""


class SentenceEncoder:
    """Texts to vectors, in evaluation mode."""

    def __init__(
        self,
        folder: Path,
        device: str | torch.device = "cpu",
        compute_dtype: torch.dtype = torch.float32,
    ):
        """Load from local files alone; matrix products are in ``compute_dtype``.

        Raises:
            SentenceEncoderError: the folder lacks a file or a parameter, holds a damaged one, or
                pools other than by the mean.
        """
        _check_pooling(folder)
        self.tokenizer, self.model = _load(folder)
        self.model.to(device)  # pyright: ignore[reportArgumentType]
        self.compute_dtype = compute_dtype
        self.tokenizer.padding_side = "right"
        if self.tokenizer.pad_token_id is None:
            # What stands under the mask is not read, so that any token will do.
            self.tokenizer.pad_token = self.tokenizer.convert_ids_to_tokens(0)

    def embed(
        self,
        texts: Sequence[str],
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Float32[np.ndarray, "T S"]:
        """Embed texts, those of like many tokens together; zeros for a text that is but space.

        Args:
            texts: of any number, in any order; equal ones are read once.
            progress: called with distinct texts done and in all.
        """
        distinct = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        vectors_DS = np.zeros((len(distinct), int(self.model.config.hidden_size)), np.float32)
        present = [text for text in distinct if text.strip()]
        tokens = self.tokenizer(present)["input_ids"] if present else []
        n_tokens = {text: len(ids) for text, ids in zip(present, tokens, strict=True)}
        present.sort(key=n_tokens.__getitem__)
        for start in range(0, len(present), BATCH_TEXTS):
            part = present[start : start + BATCH_TEXTS]
            vectors_DS[[distinct[text] for text in part]] = self._batch(part)
            progress(start + len(part), len(present))
        return vectors_DS[[distinct[text] for text in texts]]

    def _batch(self, texts: list[str]) -> Float32[np.ndarray, "B S"]:
        coded = self.tokenizer(
            texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        ).to(self.model.device)
        is_bfloat16, device = self.compute_dtype == torch.bfloat16, self.model.device.type
        with (
            torch.inference_mode(),
            torch.autocast(device, dtype=torch.bfloat16, enabled=is_bfloat16),
        ):
            states_BLS = self.model(**coded).last_hidden_state.float()
        mask_BL1 = coded["attention_mask"][:, :, None].to(states_BLS.dtype)
        # A text that is no token at all keeps zeros.
        means_BS = (states_BLS * mask_BL1).sum(1) / mask_BL1.sum(1).clamp(min=1)
        return means_BS.cpu().numpy()


def _load(folder: Path) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        loaded: object = AutoModel.from_pretrained(
            folder,
            use_safetensors=True,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # refused below, by name
        )
    except (OSError, ValueError, KeyError, SafetensorError, StrictDataclassError) as error:
        said = " ".join(str(error).split("\n")[:2])
        raise SentenceEncoderError(
            f"{folder} cannot be loaded as a sentence encoder ({said}); give a whole folder with "
            "config.json, *.safetensors and the tokenizer's files."
        ) from error
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
    model, info = cast(tuple[PreTrainedModel, dict[str, Any]], loaded)
    _check_complete(folder, model, info)
    return cast(PreTrainedTokenizerBase, tokenizer), model.eval()


def _check_complete(folder: Path, model: PreTrainedModel, info: dict[str, Any]) -> None:
    if getattr(model.config, "is_encoder_decoder", False):
        raise SentenceEncoderError(
            f"{folder} holds a {type(model).__name__}, whose decoder has nothing to read here; "
            "give an encoder or a decoder alone."
        )
    # transformers fills what is missing with random numbers and only warns. A pooler's is no loss:
    # token states, which are averaged here, do not pass through it.
    missing = sorted(name for name in info["missing_keys"] if not name.startswith("pooler."))
    shapes = sorted(str(name) for name, *_ in info["mismatched_keys"])
    if missing or shapes:
        raise SentenceEncoderError(
            f"{folder} lacks {len(missing)} parameters of its {type(model).__name__} and has "
            f"{len(shapes)} of another shape (first: {[*missing, *shapes][:3]}); fetch or write "
            "the encoder again, whole."
        )


def _check_pooling(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise SentenceEncoderError(
            f"{folder} has no config.json; name a folder that holds a sentence encoder."
        )
    pooling = folder / POOLING
    if pooling.is_file():
        modes = _modes(pooling)
        chosen = [name for name, value in modes.items() if value is True]
        if not modes.get("pooling_mode_mean_tokens") or len(chosen) > 1:
            raise SentenceEncoderError(
                f"{folder} pools by {chosen}; only encoders that pool by the mean over tokens "
                "are run here."
            )


def _modes(path: Path) -> dict[str, Any]:
    try:
        modes = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SentenceEncoderError(
            f"{path} is no readable JSON ({error}); fetch or write it again."
        ) from error
    if not isinstance(modes, dict):
        raise SentenceEncoderError(
            f"{path} holds {str(modes)[:60]} and no JSON object of pooling modes; fetch it again."
        )
    return modes
