"""From tiktoken to ``tokenizer.json``."""

from tasks.shared.byte_alphabet import to_alphabet
from tasks.shared.vocabulary_file import Json
from tasks.tokenizer.format_errors import FormatFileError, NotExpressibleError
from tasks.tokenizer.rank_rule import last_merges
from tasks.tokenizer.regex_dialect import from_rust
from tasks.tokenizer.tiktoken_format import TiktokenEncoding


def from_tiktoken(encoding: TiktokenEncoding) -> Json:
    """Write a tiktoken encoding as ``tokenizer.json``, with the merges that its ranks imply.

    The ids are the same for any text of which the pattern leaves out nothing; what it leaves out
    is dropped by tiktoken and kept by this tokenizer. Special tokens are always looked for.

    Raises:
        FormatFileError: a byte has no rank, or two tokens have one id.
        NotExpressibleError: tokenizers would read the pattern otherwise, or a special token's
            text is written as some other token's bytes are.
    """
    missing = [byte for byte in range(256) if bytes([byte]) not in encoding.ranks]
    if missing:
        raise FormatFileError(
            f"The ranks lack {len(missing)} of 256 bytes (first: {missing[0]:#04x}), on which "
            "tiktoken fails; the file is damaged or of another kind, fetch it again."
        )
    vocabulary = {to_alphabet(token): rank for token, rank in encoding.ranks.items()}
    taken = [text for text in encoding.special_tokens if text in vocabulary]
    if taken:
        raise NotExpressibleError(
            f"{len(taken)} special tokens are ordinary ones too (first: {taken[0]!r}), and "
            "tokenizer.json has one id for a text; rename them."
        )
    ranks = {rank: token for token, rank in encoding.ranks.items()}
    doubled = [text for text, i in encoding.special_tokens.items() if i in ranks]
    if doubled or len({*encoding.special_tokens.values()}) < len(encoding.special_tokens):
        raise FormatFileError(
            f"{len(encoding.special_tokens)} special tokens ({', '.join(encoding.special_tokens)}) "
            f"need an id of their own each, and {len(doubled)} have one of a token in the table of "
            f"ranks, which ends at {max(ranks)}; give them the ids behind it."
        )
    pairs = last_merges(encoding.ranks)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            _added(text, token_id) for text, token_id in encoding.special_tokens.items()
        ],
        "normalizer": None,
        "pre_tokenizer": _words(from_rust(encoding.pattern)),
        "post_processor": None,
        "decoder": _byte_level(),
        "model": {
            "type": "BPE",
            # Without their place here, added tokens are numbered anew when the file is loaded.
            "vocab": vocabulary | dict(encoding.special_tokens),
            "merges": [[*map(to_alphabet, pair)] for pair in pairs.values() if pair is not None],
            # A word that is a token is one to tiktoken even where no merges lead to it.
            "ignore_merges": None in pairs.values(),
        },
    }


def _words(pattern: str) -> Json:
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated"}
    return {"type": "Sequence", "pretokenizers": [{**split, "invert": False}, _byte_level()]}


def _byte_level() -> Json:
    return {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": False,
    }


def _added(text: str, token_id: int) -> Json:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": token_id, "content": text, **flags, "special": True}
