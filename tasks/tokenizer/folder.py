"""The files that make a tokenizer loadable with ``AutoTokenizer``."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tasks.shared.vocabulary_file import Json, TokenizerFile, read_json
from tasks.tokenizer.bpe import train_bpe
from tasks.tokenizer.carry_over import carry_config, carry_post_processor, tokens_to_carry
from tasks.tokenizer.config import Bpe, Extend
from tasks.tokenizer.extend import extend_tokenizer
from tasks.tokenizer.pretokenizer import choose_pretokenizer

TEMPLATE = "chat_template.jinja"


def read_config(folder: Path) -> Json:
    """Read ``tokenizer_config.json``, empty where there is none."""
    path = folder / "tokenizer_config.json"
    return read_json(path) if path.exists() else {}


def read_template(folder: Path) -> str:
    """Read the chat template from its file or from the config; empty where there is none."""
    path = folder / TEMPLATE
    if path.exists():
        return path.read_text(encoding="utf-8")
    template: Any = read_config(folder).get("chat_template") or ""
    # Older folders hold a list of named templates.
    return template if isinstance(template, str) else json.dumps(template, ensure_ascii=False)


def train_in_folder(
    folder: Path, source: TokenizerFile, config: Extend | Bpe, texts: Iterable[str]
) -> None:
    """Train a tokenizer by the chosen method and write its files.

    Args:
        folder: where to write.
        source: the model's own tokenizer.
        config: method and sizes.
        texts: documents to learn from.
    """
    if isinstance(config, Extend):
        trained = extend_tokenizer(
            source,
            texts,
            n_new_tokens=config.n_new_tokens,
            min_frequency=config.min_frequency,
            max_token_bytes=config.max_token_bytes,
            add_missing_bytes=config.add_missing_bytes,
        )
    else:
        trained = _train_new(source, config, texts)
    write_tokenizer(folder, trained, source)


def _train_new(source: TokenizerFile, config: Bpe, texts: Iterable[str]) -> Json:
    """Train the new vocabulary and put the source's special tokens and post-processor around it."""
    own_words = config.pretokenizer == "source"
    trained = train_bpe(
        texts,
        pre_tokenizer=choose_pretokenizer(source.tokenizer, config.pretokenizer, config.digits),
        normalizer=source.tokenizer.get("normalizer") if own_words else None,
        carried=tokens_to_carry(source, read_template(source.folder)),
        vocabulary_size=config.vocabulary_size,
        min_frequency=config.min_frequency,
        max_token_bytes=config.max_token_bytes,
    )
    trained["post_processor"] = carry_post_processor(
        source.tokenizer.get("post_processor"), trained["model"]["vocab"]
    )
    return trained


def write_tokenizer(folder: Path, tokenizer: Json, source: TokenizerFile) -> None:
    """Write ``tokenizer.json``, ``tokenizer_config.json`` and the chat template."""
    config = carry_config(read_config(source.folder), source, set(tokenizer["model"]["vocab"]))
    _write_json(folder / "tokenizer.json", tokenizer)
    _write_json(folder / "tokenizer_config.json", config)
    template = source.folder / TEMPLATE
    if template.exists():
        (folder / TEMPLATE).write_bytes(template.read_bytes())


def _write_json(path: Path, value: Json) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
