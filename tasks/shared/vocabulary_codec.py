"""How a tokenizer writes bytes as vocabulary strings, and back.

Four spellings exist: the byte alphabet (GPT-2, Llama 3), the metaspace with ``<0xNN>`` for bytes
(SentencePiece), ``##`` for a piece inside a word (WordPiece), and plain text.
"""

import re
from dataclasses import dataclass
from itertools import cycle

from tasks.shared.byte_alphabet import from_alphabet, to_alphabet
from tasks.shared.errors import InputError
from tasks.shared.vocabulary_file import Json, TokenizerFile

_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_MODEL_TYPES = ("BPE", "Unigram", "WordPiece", "WordLevel")


class UnsupportedTokenizerError(InputError):
    """A kind of tokenizer whose bytes this project cannot tell."""


@dataclass(frozen=True)
class ByteLevel:
    """One visible character a byte."""

    def to_bytes(self, text: str) -> bytes | None:
        """Read a vocabulary string; ``None`` if it spells no bytes, so that no text reaches it."""
        return from_alphabet(text)

    def to_spans(self, data: bytes) -> list[str | bytes]:
        """Write bytes as the model sees them."""
        return [to_alphabet(data)]


@dataclass(frozen=True)
class PlainText:
    """UTF-8, a space perhaps replaced by one visible character, bytes perhaps as ``<0xNN>``."""

    space: str | None
    byte_fallback: bool

    def to_bytes(self, text: str) -> bytes | None:
        """Read a vocabulary string."""
        if self.byte_fallback and (byte := _BYTE_PIECE.fullmatch(text)):
            return bytes([int(byte[1], 16)])
        return (text.replace(self.space, " ") if self.space else text).encode()

    def to_spans(self, data: bytes) -> list[str | bytes]:
        """Write bytes as the model sees them: text, and between it bytes that are no text.

        A literal stand-in for the space counts as no text, for it would be read back as a space.
        """
        text = data.decode(errors="surrogateescape")
        spans = re.split(f"([\udc80-\udcff{re.escape(self.space or '')}]+)", text)
        return [
            span.encode(errors="surrogateescape")
            if is_bytes
            else span.replace(" ", self.space or " ")
            for span, is_bytes in zip(spans, cycle((False, True)), strict=False)
            if span
        ]


@dataclass(frozen=True)
class WordPieces:
    """A piece inside a word has a prefix; one at a word's start stands for space + text."""

    inside: str

    def to_bytes(self, text: str) -> bytes | None:
        """Read a vocabulary string."""
        if text.startswith(self.inside) and text != self.inside:
            return text[len(self.inside) :].encode()
        return b" " + text.encode()


Codec = ByteLevel | PlainText | WordPieces


def codec_of(file: TokenizerFile) -> Codec:
    """Tell the spelling from the model's type and the parts around it.

    Raises:
        UnsupportedTokenizerError: an unknown model type, or BPE with word affixes.
    """
    if file.model_type not in _MODEL_TYPES:
        raise UnsupportedTokenizerError(
            f"{file.folder} has a tokenizer of type {file.model_type!r}; "
            f"tokgraft reads {', '.join(_MODEL_TYPES)}."
        )
    if file.model_type == "WordPiece":
        return WordPieces(file.model.get("continuing_subword_prefix") or "##")
    for affix in ("continuing_subword_prefix", "end_of_word_suffix"):
        if file.model.get(affix):
            raise UnsupportedTokenizerError(
                f"{file.folder} has a BPE tokenizer with {affix} {file.model[affix]!r}, whose "
                "pieces stand for different bytes by place; use a model with byte-level BPE."
            )
    components = list(file.components())
    if any(component.get("type") == "ByteLevel" for component in components):
        return ByteLevel()
    return PlainText(_space_stand_in(components), bool(file.model.get("byte_fallback")))


def _space_stand_in(components: list[Json]) -> str | None:
    """Find the character written for a space: a metaspace's, or one that replaces a space."""
    for component in components:
        if component.get("type") == "Metaspace":
            return str(component["replacement"])
    for component in components:
        if component.get("type") == "Replace":
            pair = {component.get("pattern", {}).get("String"), component.get("content")}
            stand_in = (pair - {" "}).pop() if " " in pair and len(pair) == 2 else None
            # A rule such as line end -> space cleans text up and stands for nothing.
            if stand_in and not stand_in.isspace():
                return str(stand_in)
    return None
