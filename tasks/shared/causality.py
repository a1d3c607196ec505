"""Whether a model sees nothing but what stands to the left, as all that runs one here assumes.

Padding on the right then changes no state, and a token's likelihood is not read off the token.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.shared.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

_BOTH_SIDES = {"bert-generation", "cpmant", "xlnet"}
"""Types with a causal class and no masked one that see both sides all the same, unless the config
makes them decoders: found by running small models of the causal classes of transformers 5."""


class NotCausalError(InputError):
    """A model is to be run from left to right and was not made for it."""


def why_not_causal(config: PreTrainedConfig) -> str | None:
    """Say what keeps a model from being a causal one; None if nothing does.

    ``is_decoder`` alone does not tell: GPT-NeoX has it false and is causal. It is asked of those
    types only that have a class for masked text too, whose attention follows it.
    """
    from transformers.models.auto import modeling_auto

    kind, text = config.model_type, config.get_text_config()
    if getattr(config, "is_encoder_decoder", False):
        return "it has an encoder beside its decoder"
    if kind not in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return "transformers has no causal class of this type"
    masked = modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    by_choice = kind in masked or kind in _BOTH_SIDES
    chosen = getattr(text, "is_decoder", False) or getattr(text, "causal", False)
    both_sides = getattr(text, "use_bidirectional_attention", None) is True
    if (by_choice and not chosen) or both_sides or getattr(text, "is_causal", True) is False:
        return "each of its tokens sees those behind it too"
    return None


def check_causal(folder: Path) -> None:
    """Look at ``config.json`` before any weight is read.

    Raises:
        NotCausalError: the model is an encoder, or has one.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if (why := why_not_causal(config)) is not None:
        raise _not_causal(str(folder), f"of type {config.model_type}", why)


def check_causal_summary(summary: Mapping[str, object]) -> None:
    """Look at what the import of a model found, before other stages work on it.

    Raises:
        NotCausalError: the model is an encoder, or has one.
    """
    if (why := summary.get("not_causal")) is not None:
        raise _not_causal(str(summary["origin"]), f"a {summary['architecture']}", str(why))


def _not_causal(name: str, kind: str, why: str) -> NotCausalError:
    return NotCausalError(
        f"{name} is {kind}, no causal language model ({why}), so it can be neither trained nor "
        "measured from left to right; name a decoder-only model, or make rows alone: "
        "pretraining: null, and an initialiser that does not run the model, such as mean_of_pieces."
    )
