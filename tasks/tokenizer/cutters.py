"""Pieces of a text as the tokenizers library cuts them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from tasks.shared.vocabulary_codec import codec_of
from tasks.shared.vocabulary_file import Json, TokenizerFile
from tasks.tokenizer.errors import PretokenizerError


@dataclass(frozen=True)
class Cutter:
    """Cuts texts.

    Attributes:
        cut: gives the pieces of a text, spelt in one way or another.
        to_bytes: reads such a spelling.
    """

    cut: Callable[[str], list[str]]
    to_bytes: Callable[[str], bytes]


def load_parts(normalizer: Json | None, pre_tokenizer: Json | None) -> tuple[Any, Any]:
    """Let the library build the parts that come before a tokenizer's model; ``None`` stays."""
    skeleton = {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "model": {"type": "BPE", "vocab": {}, "merges": []},
    }
    tokenizer = Tokenizer.from_str(json.dumps(skeleton))
    return tokenizer.normalizer, tokenizer.pre_tokenizer


def library_cutter(normalizer: Json | None, pre_tokenizer: Json | None) -> Cutter:
    """Cut normalised text with the library's own pre-tokenizer.

    It cannot know what a normalizer stripped from the front of a text; one kind of pre-tokenizer
    asks, a Metaspace of scheme ``first``, which then adds no space in use and does here.

    Args:
        normalizer: not applied; with the pre-tokenizer it tells how pieces spell their bytes.
        pre_tokenizer: value of that name in ``tokenizer.json``; without one a text is one piece.
    """
    _, words = load_parts(None, pre_tokenizer)
    model = {"type": "BPE", "vocab": {}}
    parts = {"normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "model": model}
    codec = codec_of(TokenizerFile(Path(), parts, (), {}))

    def cut(text: str) -> list[str]:
        return [text] if words is None else [piece for piece, _ in words.pre_tokenize_str(text)]

    def to_bytes(piece: str) -> bytes:
        data = codec.to_bytes(piece)
        if data is None:
            raise PretokenizerError(
                f"The pre-tokenizer makes the piece {piece!r}, which is not all of byte-level "
                "characters; ByteLevel must be the last of its parts that changes text."
            )
        return data

    return Cutter(cut, to_bytes)
