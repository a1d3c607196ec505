"""The tokenizer files of a model folder, as transformers reads them."""

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.tiktoken",
    "tokenizer.tiktoken.json",
    "tokenizer.model",
    "scaffold.json",
    "extra_tokens.json",
)
"""Everything transformers reads beside a fast tokenizer's ``tokenizer.json``, other forms of the
same tokenizer that its stage was asked for, and what its scaffold, tool and reserved tokens are."""
SHIPPED_TOKENIZER_FILES = (*TOKENIZER_FILES, "tokenization_scaffold.py")
"""The same with our own class for exact Scaffold-BPE; no code is imported with a model."""

_CONFIG_KEY_OF_ROLE = {
    "bos": "bos_token",
    "eos": "eos_token",
    "unk": "unk_token",
    "pad": "pad_token",
}


def write_tokenizer(
    folder: Path,
    tokenizer: Tokenizer,
    roles: dict[str, str],
    chat_template: str | None,
    max_length: int,
) -> None:
    """Write ``tokenizer.json``, ``tokenizer_config.json`` and the chat template, if any.

    Args:
        folder: where to.
        tokenizer: the whole pipeline.
        roles: token text by role.
        chat_template: Jinja source.
        max_length: positions the model was trained for.
    """
    tokenizer.save(str(folder / "tokenizer.json"))
    config: dict[str, Any] = {
        # The one class that takes tokenizer.json as it is; the named ones rebuild their pipeline.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": max_length,
        **{_CONFIG_KEY_OF_ROLE[role]: text for role, text in roles.items()},
    }
    write_json(folder / "tokenizer_config.json", config)
    if chat_template is not None:
        (folder / "chat_template.jinja").write_text(chat_template, encoding="utf-8")


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Write a small record; equal records give equal bytes."""
    text = json.dumps(record, indent=2, sort_keys=True, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
