"""A tokenizer that goes on learning where it stopped.

The source tokenizer cuts the new text; its tokens are the atoms of new merges, which rank after
all old ones. So every old token keeps its id and its meaning, and new text is cut at a subset of
the places where it was cut before: rows of the model stay valid, and nothing gets longer.
"Continued BPE training", Purason et al. 2025 (arXiv 2512.03989); the library is bpe-continue.
"""

import json
from collections.abc import Iterable

from bpe_continue import continue_training

from tasks.shared.byte_alphabet import BYTE_CHARACTERS
from tasks.shared.vocabulary_file import Json, TokenizerFile, unfold
from tasks.tokenizer.errors import CorpusTooSmallError, UnsupportedSourceError

_WORDS_OF_METASPACE: Json = {
    "type": "Split",
    "pattern": {"Regex": "▁+[^▁]*|[^▁]+"},
    "behavior": "Isolated",
    "invert": False,
}

_NEVER_IN_UTF8 = frozenset({0xC0, 0xC1, *range(0xF5, 0x100)})


def extend_tokenizer(
    source: TokenizerFile,
    texts: Iterable[str],
    n_new_tokens: int,
    min_frequency: int,
    max_token_bytes: int,
    add_missing_bytes: bool,
) -> Json:
    """Add tokens to a BPE tokenizer by continuing its merges on new text.

    Args:
        source: the tokenizer to extend.
        texts: whole documents. They are held in memory: read line by line from a file, words
            that span line ends would never be seen.
        n_new_tokens: how many tokens to add, missing bytes included.
        min_frequency: how often a pair must occur to be merged.
        max_token_bytes: longest new token, counted in the model's own symbols, which are bytes
            if it is byte-level.
        add_missing_bytes: whether bytes of UTF-8 that the source cannot write get the first new
            ids.

    Returns:
        The new ``tokenizer.json``. Only its vocabulary and merges differ; new ids follow the
        largest old one, also where it belongs to an added token; rows that the model holds
        beyond its tokenizer are padding and get used first.

    Raises:
        UnsupportedSourceError: the source is not BPE.
        CorpusTooSmallError: the text does not hold so many pairs.
    """
    if source.model_type != "BPE":
        raise UnsupportedSourceError(
            f"method: extend continues merges, and the {source.model_type} tokenizer of the "
            "source model has none; choose method: bpe, which makes a new vocabulary."
        )
    old = _fold_added_tokens(source)
    if add_missing_bytes:
        _add_missing_bytes(old, n_new_tokens)
    n_start = 1 + max(old["model"]["vocab"].values())
    n_rows = 1 + max(_fold_added_tokens(source)["model"]["vocab"].values()) + n_new_tokens
    new_merges = _continue(old, texts, n_rows - n_start, min_frequency, max_token_bytes)
    new_tokens = dict.fromkeys(
        left + right for left, right in new_merges if left + right not in old["model"]["vocab"]
    )
    if n_start + len(new_tokens) < n_rows:
        n_found = n_new_tokens - (n_rows - n_start) + len(new_tokens)
        raise CorpusTooSmallError(
            f"The corpus yields {n_found} new tokens that occur min_frequency={min_frequency} "
            f"times, but n_new_tokens={n_new_tokens}; give it more text or ask for fewer tokens."
        )
    old["model"]["vocab"].update({t: n_start + i for i, t in enumerate(new_tokens)})
    as_text = any(isinstance(merge, str) for merge in old["model"]["merges"])
    old["model"]["merges"] += [" ".join(m) if as_text else list(m) for m in new_merges]
    return old


def _fold_added_tokens(source: TokenizerFile) -> Json:
    """Copy the tokenizer with its added tokens in the model's vocabulary, at their own ids.

    The tokenizers library numbers added tokens after the model's vocabulary whatever the file
    says, so that a larger vocabulary would move them.
    """
    copy: Json = json.loads(json.dumps(source.tokenizer))
    copy["model"]["vocab"].update({content: token_id for token_id, content, _ in source.added})
    return copy


def _add_missing_bytes(tokenizer: Json, n_allowed: int) -> None:
    if not any(part.get("type") == "ByteLevel" for part in unfold(tokenizer.get("pre_tokenizer"))):
        return
    vocabulary = tokenizer["model"]["vocab"]
    missing = [
        symbol
        for byte, symbol in enumerate(BYTE_CHARACTERS)
        if symbol not in vocabulary and byte not in _NEVER_IN_UTF8
    ]
    if len(missing) > n_allowed:
        raise CorpusTooSmallError(
            f"add_missing_bytes needs {len(missing)} tokens, but n_new_tokens={n_allowed}."
        )
    start = 1 + max(vocabulary.values())
    vocabulary.update({symbol: start + i for i, symbol in enumerate(missing)})


def _continue(
    old: Json, texts: Iterable[str], n_tokens: int, min_frequency: int, max_symbols: int
) -> list[tuple[str, str]]:
    """Learn merges after the old ones until they make so many tokens, or text runs out."""
    if n_tokens == 0:
        return []
    base = {**old, "pre_tokenizer": old.get("pre_tokenizer") or _words_if_none(old)}
    try:
        extended = continue_training(
            json.dumps(base),
            texts=texts,
            vocab_size=len(old["model"]["vocab"]) + n_tokens,
            min_frequency=min_frequency,
            max_token_length=max_symbols,
            show_progress=False,
        )
    # The library reports text that the source cannot write as OSError.
    except (ValueError, OSError) as error:
        raise UnsupportedSourceError(
            f"method: extend cannot start from this source ({' '.join(str(error).split())}); "
            "choose method: bpe, which can write any text."
        ) from error
    merges = json.loads(extended.to_str())["model"]["merges"]
    return [(left, right) for left, right in merges[len(old["model"]["merges"]) :]]


def _words_if_none(old: Json) -> Json | None:
    """Keep new merges inside words where the source has no pre-tokenizer, as in Llama 2.

    Without it whole documents would be words. Old merges do not reach over a word's start, so
    the cut changes none of them.
    """
    stands = any(part.get("content") == "▁" for part in unfold(old.get("normalizer")))
    return _WORDS_OF_METASPACE if stands else None
