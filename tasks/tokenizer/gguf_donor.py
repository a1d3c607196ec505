"""The tokenizer of a model in a GGUF file, its weights left alone."""

import json
from pathlib import Path

from tasks.shared.gguf_file import read_gguf
from tasks.shared.gguf_tokenizer import build_tokenizer


def unpack_tokenizer(path: Path, folder: Path) -> None:
    """Write ``tokenizer.json`` and what stands beside it.

    Raises:
        GgufFileError: the file is damaged.
        UnsupportedGgufError: its kind of tokenizer is not known.
        UnknownPreTokenizerError: its pre-tokenizer is not.
    """
    imported = build_tokenizer(read_gguf(path))
    imported.tokenizer.save(str(folder / "tokenizer.json"))
    roles = {f"{role}_token": text for role, text in imported.roles.items()}
    (folder / "tokenizer_config.json").write_text(json.dumps(roles), encoding="utf-8")
    if imported.chat_template is not None:
        (folder / "chat_template.jinja").write_text(imported.chat_template, encoding="utf-8")
