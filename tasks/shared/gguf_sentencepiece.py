"""SentencePiece tokenizers in a GGUF file.

Unlike byte-level ones they depend on no pre-tokenizer name, and transformers rebuilds them from
the pieces and scores, the spelling of Gemma's runs of spaces included.
"""

from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer
from transformers.integrations.gguf.gguf_tokenizer_mapping import (
    convert_gguf_tokenizer,
    get_gguf_tokenizer,
)
from transformers.tokenization_utils_base import generate_merges

from tasks.shared.gguf_file import GgufFile

_GEMMA = ("gemma", "gemma2", "gemma3")
_USER_DEFINED = 4
_SPACE = "\u2581"


def build_sentencepiece(gguf: GgufFile) -> Tokenizer:
    """Rebuild the tokenizer; merges that the file does not list follow from its vocabulary."""
    architecture, tables, _ = get_gguf_tokenizer(str(gguf.path))
    if architecture in _GEMMA and "merges" not in tables:
        tables = {**tables, "merges": _gemma_merges(tables)}
    tokenizer, _ = convert_gguf_tokenizer(architecture, tables)
    return tokenizer


def _gemma_merges(tables: dict[str, Any]) -> list[str]:
    """Merges in the order of the published ``tokenizer.json``.

    Gemma's pieces stand in the order of their merges, except for those that its makers defined:
    runs of spaces, tabs and line ends. SentencePiece matches these before all others and the
    longest first; transformers gives them the place they have in the file, which cuts 40 spaces
    into 16 and 24 where the model was taught 31 and 9.
    """
    tokens: Sequence[str] = [
        _SPACE * len(token) if " " in token and not token.strip() else token
        for token in tables["tokens"]
    ]
    kinds: Sequence[int] = tables["token_type"]
    ranks = {
        token: 0.0 if kind == _USER_DEFINED else float(-i)
        for i, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
    }
    merges = generate_merges({token: i for i, token in enumerate(tokens)}, ranks)
    return [f"{left} {right}" for left, right in merges]
