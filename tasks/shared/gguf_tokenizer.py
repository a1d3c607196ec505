"""The tokenizer inside a GGUF file, as the ``tokenizer.json`` it was made from."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, processors

from tasks.shared.gguf_file import GgufFile, GgufFileError, UnsupportedGgufError
from tasks.shared.gguf_pre_tokenizers import pre_tokenization
from tasks.shared.gguf_sentencepiece import build_sentencepiece

_CONTROL, _USER_DEFINED, _UNUSED = 3, 4, 5
"""Token types that llama.cpp writes; all others are plain pieces of text."""

_FILLER = re.compile(r"\[PAD\d+\]")
_ROLE_KEYS = {
    "bos": "tokenizer.ggml.bos_token_id",
    "eos": "tokenizer.ggml.eos_token_id",
    "unk": "tokenizer.ggml.unknown_token_id",
    "pad": "tokenizer.ggml.padding_token_id",
}


@dataclass(frozen=True)
class ImportedTokenizer:
    """A tokenizer and what stands beside it in a model folder."""

    tokenizer: Tokenizer
    roles: dict[str, str]
    """Token text by role: bos, eos, unk, pad, as far as the file names them."""
    chat_template: str | None


def build_tokenizer(gguf: GgufFile) -> ImportedTokenizer:
    """Rebuild the tokenizer from its tokens, merges and the name of its pre-tokenizer.

    Raises:
        UnsupportedGgufError: the file's kind of tokenizer is not known.
        UnknownPreTokenizerError: its pre-tokenizer is not.
        GgufFileError: a table is missing or the tables do not belong together.
    """
    kind = gguf.require("tokenizer.ggml.model")
    if kind == "gpt2":
        tokenizer = _byte_level(gguf)
        _add_special_tokens(tokenizer, gguf)
    elif kind == "llama":
        tokenizer = build_sentencepiece(gguf)
    else:
        raise UnsupportedGgufError(
            f"{gguf.path} has a tokenizer of kind {kind!r}; GGUF import knows gpt2 (byte-level "
            "BPE) and llama (SentencePiece BPE). Import its safetensors form instead."
        )
    tokens: Sequence[str] = gguf.require("tokenizer.ggml.tokens")
    roles: dict[str, str] = {}
    for role, key in _ROLE_KEYS.items():
        if key in gguf.metadata:
            roles[role] = _token_at(gguf, tokens, int(gguf.metadata[key]))
    _add_prefix_tokens(tokenizer, gguf, roles, adds_bos=_adds_bos_by_default(gguf))
    return ImportedTokenizer(tokenizer, roles, gguf.metadata.get("tokenizer.chat_template"))


def _byte_level(gguf: GgufFile) -> Tokenizer:
    cut = pre_tokenization(str(gguf.require("tokenizer.ggml.pre")))
    tokens: Sequence[str] = gguf.require("tokenizer.ggml.tokens")
    types: Sequence[int] = gguf.metadata.get("tokenizer.ggml.token_type", [1] * len(tokens))
    vocabulary = {
        token: i
        for i, (token, kind) in enumerate(zip(tokens, types, strict=True))
        # llama.cpp names rows that no token uses; they are no part of the tokenizer.
        if not (kind == _UNUSED and _FILLER.fullmatch(token))
    }
    merges = [_pair(merge) for merge in gguf.require("tokenizer.ggml.merges")]
    strays = [m for m in merges if not {m[0], m[1], m[0] + m[1]} <= vocabulary.keys()]
    if strays:
        raise GgufFileError(
            f"{gguf.path}: {len(strays)} merges use tokens that are not in the vocabulary (first: "
            f"{strays[0]}); the file is damaged, fetch it again."
        )
    model = models.BPE(vocab=vocabulary, merges=merges, ignore_merges=cut.ignore_merges)
    tokenizer = Tokenizer(model)
    if cut.normaliser is not None:
        tokenizer.normalizer = cut.normaliser()
    tokenizer.pre_tokenizer = cut.cut()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def _pair(merge: str) -> tuple[str, str]:
    left, _, right = merge.partition(" ")
    return left, right


def _add_special_tokens(tokenizer: Tokenizer, gguf: GgufFile) -> None:
    tokens: Sequence[str] = gguf.require("tokenizer.ggml.tokens")
    types: Sequence[int] = gguf.metadata.get("tokenizer.ggml.token_type", [1] * len(tokens))
    control = [token for token, kind in zip(tokens, types, strict=True) if kind == _CONTROL]
    whole = [token for token, kind in zip(tokens, types, strict=True) if kind == _USER_DEFINED]
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in control])
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in whole])
    if tokenizer.get_vocab_size(with_added_tokens=True) > len(tokens):
        raise GgufFileError(
            f"{gguf.path}: its special tokens do not all stand in its table of {len(tokens)} "
            "tokens; the file is damaged, fetch it again."
        )


def _adds_bos_by_default(gguf: GgufFile) -> bool:
    if gguf.metadata["tokenizer.ggml.model"] == "llama":
        return True
    return pre_tokenization(str(gguf.metadata["tokenizer.ggml.pre"])).adds_bos


def _add_prefix_tokens(
    tokenizer: Tokenizer, gguf: GgufFile, roles: dict[str, str], *, adds_bos: bool
) -> None:
    """Put bos first and eos last where the model was trained so."""
    flags: dict[str, Any] = {
        "bos": gguf.metadata.get("tokenizer.ggml.add_bos_token", adds_bos),
        "eos": gguf.metadata.get("tokenizer.ggml.add_eos_token", False),
    }
    first = [roles["bos"]] if flags["bos"] and "bos" in roles else []
    last = [roles["eos"]] if flags["eos"] and "eos" in roles else []
    if not first and not last:
        return
    template = processors.TemplateProcessing(
        single=[*first, "$A", *last],
        pair=[*first, "$A", *last, *(f"{t}:1" for t in first), "$B:1", *(f"{t}:1" for t in last)],
        special_tokens=[(t, tokenizer.token_to_id(t)) for t in sorted({*first, *last})],
    )
    if gguf.metadata["tokenizer.ggml.model"] == "gpt2":
        template = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    tokenizer.post_processor = template


def _token_at(gguf: GgufFile, tokens: Sequence[str], token_id: int) -> str:
    if not 0 <= token_id < len(tokens):
        raise GgufFileError(
            f"{gguf.path} names token {token_id} as special, but has {len(tokens)} tokens; the "
            "file is damaged, fetch it again."
        )
    return tokens[token_id]
