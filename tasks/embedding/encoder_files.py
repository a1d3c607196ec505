"""Which files of a folder make a sentence encoder."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from tasks.shared.errors import InputError

POOLING = "1_Pooling/config.json"
"""Where sentence-transformers says how token states become one vector."""
ENCODER_PATTERNS = (
    "config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer.json",
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.*",
    "merges.txt", "*.model", POOLING,
)  # fmt: skip


class SentenceEncoderError(InputError):
    """A folder holds no sentence encoder that is run here."""


def encoder_files(names: Sequence[str], folder: str) -> list[str]:
    """Choose the files that are read.

    Args:
        names: what stands directly in the folder.
        folder: for messages.

    Raises:
        SentenceEncoderError: it has no config, or no weights in safetensors.
    """
    chosen = [name for name in names if any(fnmatchcase(name, p) for p in ENCODER_PATTERNS)]
    if "config.json" not in chosen:
        raise SentenceEncoderError(
            f"{folder} has no config.json; name a folder that holds a sentence encoder."
        )
    if not any(name.endswith(".safetensors") for name in chosen):
        raise SentenceEncoderError(
            f"{folder} has no *.safetensors; save the sentence encoder in that form."
        )
    return [*chosen, *([POOLING] if "1_Pooling" in names else [])]
