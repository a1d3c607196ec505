"""Pieces of a text as the tokenizers library cuts them, or faster by a regex engine that agrees.

The ``regex`` module is several times faster than the library, which hands over three objects a
piece. It is of another Unicode version and another dialect, so its use must be earned on text.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import regex
from tokenizers import Tokenizer

from tasks.shared.vocabulary_codec import codec_of
from tasks.shared.vocabulary_file import Json, TokenizerFile, unfold
from tasks.tokenizer.errors import PretokenizerError
from tasks.tokenizer.scan_plan import is_byte_level, regex_of_split


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


def regex_cutter(pre_tokenizer: Json | None) -> Cutter | None:
    """Cut with the ``regex`` module, if the pre-tokenizer is one regex that it can read."""
    parts = list(unfold(pre_tokenizer))
    if len(parts) != 2 or not is_byte_level(parts[1], use_regex=False):
        return None
    pattern = regex_of_split(parts[0])
    try:
        compiled = regex.compile(pattern or "(")
        # A group around all of it makes split give the matches beside what is between them.
        with_gaps = regex.compile(f"({pattern})")
    except regex.error:
        return None
    if compiled.groups:
        return None
    only_matches = parts[0]["behavior"] == "Removed"

    def cut(text: str) -> list[str]:
        pieces: list[str] = compiled.findall(text)
        if only_matches or sum(map(len, pieces)) == len(text):
            return pieces
        return [piece for piece in with_gaps.split(text) if piece]

    return Cutter(cut, str.encode)


def cut_alike(one: Cutter, other: Cutter, text: str) -> bool:
    """Whether two cutters make the same pieces of a text."""
    return list(map(one.to_bytes, one.cut(text))) == list(map(other.to_bytes, other.cut(text)))
