"""The files that make a tokenizer loadable with ``AutoTokenizer``."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.shared.extra_tokens import write_extra_tokens
from tasks.shared.scaffold_file import is_exact, write_scaffolds
from tasks.shared.vocabulary_file import Json, TokenizerFile, read_json
from tasks.tokenizer.carry_over import carry_config
from tasks.tokenizer.exports import Form, write_exports
from tasks.tokenizer.trained import Trained

TEMPLATE = "chat_template.jinja"
_EXACT_CLASS = "ScaffoldTokenizer"


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


def write_trained(
    folder: Path, trained: Trained, source: TokenizerFile, forms: Sequence[Form]
) -> None:
    """Write a new tokenizer, and all that belongs beside it.

    Args:
        folder: where to write; made if need be.
        trained: what a method made.
        source: the model's own tokenizer, whose config and chat template go on.
        forms: other forms than ``tokenizer.json``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(folder, trained.tokenizer, source)
    write_beside(folder, trained, source, forms)


def write_beside(
    folder: Path, trained: Trained, source: TokenizerFile, forms: Sequence[Form]
) -> None:
    """Write what is no file of transformers': records of some tokens, and other forms."""
    if trained.scaffolds is not None:
        write_scaffolds(folder, trained.scaffolds)
    write_extra_tokens(folder, trained.extra)
    write_exports(folder, trained.tokenizer, source, forms)


def write_tokenizer(folder: Path, tokenizer: Json, source: TokenizerFile) -> None:
    """Write ``tokenizer.json``, ``tokenizer_config.json``, the chat template and needed code."""
    config = carry_config(read_config(source.folder), source, set(tokenizer["model"]["vocab"]))
    if is_exact(tokenizer):
        module = Path(__file__).with_name("tokenization_scaffold.py")
        (folder / module.name).write_bytes(module.read_bytes())
        # The second of the two is the class for a tokenizer.json.
        auto_map = {"AutoTokenizer": [None, f"{module.stem}.{_EXACT_CLASS}"]}
        config |= {"tokenizer_class": _EXACT_CLASS, "auto_map": auto_map}
    write_files(folder, tokenizer, config, source.folder / TEMPLATE)


def write_files(folder: Path, tokenizer: Json, config: Json, template: Path) -> None:
    """Write ``tokenizer.json``, ``tokenizer_config.json`` and a copy of the template, if any."""
    _write_json(folder / "tokenizer.json", tokenizer)
    _write_json(folder / "tokenizer_config.json", config)
    if template.exists():
        (folder / TEMPLATE).write_bytes(template.read_bytes())


def _write_json(path: Path, value: Json) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
