"""A tokenizer that goes on learning where it stopped.

The source tokenizer cuts the pre-tokens of the new text; its tokens are the atoms of new merges,
which rank after all old ones. So every old token keeps its id and its meaning, and new text is cut
at a subset of the places where it was cut before: rows of the model stay valid, and nothing gets
longer. "Continued BPE training", Purason et al. 2025 (arXiv 2512.03989).
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tasks.shared.byte_alphabet import BYTE_CHARACTERS
from tasks.shared.segmentation_search import search_of
from tasks.shared.vocabulary_file import Json, TokenizerFile, unfold
from tasks.shared.vocabulary_reading import vocabulary_of
from tasks.shared.vocabulary_record import Vocabulary
from tasks.tokenizer.cut_words import pretoken_bytes, words_of_pieces
from tasks.tokenizer.errors import CorpusTooSmallError, UnsupportedSourceError
from tasks.tokenizer.merge_loop import Learnt, Limits, learn_merges
from tasks.tokenizer.pretoken_counts import PretokenCounts
from tasks.tokenizer.required_terms import require_terms

_NEVER_IN_UTF8 = frozenset({0xC0, 0xC1, *range(0xF5, 0x100)})
_MOST_UNWRITTEN = 0.01


@dataclass(frozen=True)
class Extended:
    """An extended tokenizer.

    Attributes:
        tokenizer: ``tokenizer.json``. Only its vocabulary and merges differ from the source's.
        learnt: tokens by id, and the merges of the extension alone.
        n_unwritten: occurrences of pre-tokens that the source has no pieces for; they are left
            out of the counts.
        n_old: ids below are the source's.
    """

    tokenizer: Json
    learnt: Learnt
    n_unwritten: int
    n_old: int


def extend_tokenizer(
    source: TokenizerFile,
    counts: PretokenCounts,
    n_new_tokens: int,
    limits: Limits,
    *,
    add_missing_bytes: bool,
    terms: Sequence[bytes] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Extended:
    """Add tokens to a BPE tokenizer by continuing its merges.

    New ids follow the largest old one, also where it belongs to an added token; rows that the
    model holds beyond its tokenizer are padding and get used first.

    Args:
        source: the tokenizer to extend.
        counts: pre-tokens as the source's own pre-tokenizer cuts them.
        n_new_tokens: how many tokens to add, missing bytes included.
        limits: frequency, length and content of new tokens; ``n_tokens`` is not read.
        add_missing_bytes: whether bytes of UTF-8 that the source cannot write get the first new
            ids.
        terms: what must be one token, steps on the way to it included in ``n_new_tokens``.
        progress: called with tokens and those wanted.

    Raises:
        UnsupportedSourceError: the source is not BPE, is exact Scaffold-BPE, or cannot write the
            text.
        CorpusTooSmallError: the text does not hold so many pairs.
    """
    if source.model_type != "BPE":
        raise UnsupportedSourceError(
            f"method: extend continues merges, and the {source.model_type} tokenizer of the "
            "source model has none; choose method: bpe, which makes a new vocabulary."
        )
    if source.scaffolds is not None:
        raise UnsupportedSourceError(
            "method: extend numbers new tokens behind the old ones, where the source's exact "
            "Scaffold-BPE has the ids of its scaffolds; choose a method that makes a new "
            "vocabulary."
        )
    file = replace(source, tokenizer=_fold_added_tokens(source))
    n_old = 1 + max(file.model["vocab"].values())
    if add_missing_bytes:
        _add_missing_bytes(file.tokenizer, n_new_tokens)
    vocabulary = vocabulary_of(file)
    cut = _cutter(file, vocabulary)
    cuts = cut(pretoken_bytes(counts))
    fallback = [i for i in range(len(vocabulary)) if vocabulary.is_byte_fallback(i)]
    words, n_unwritten = words_of_pieces(cuts, counts, fallback)
    _check_written(n_unwritten, counts)
    base = [data or b"" for data in vocabulary.token_bytes]
    wanted = limits.with_tokens(n_old + n_new_tokens)
    learnt = learn_merges(words, base, wanted, progress=progress)
    if len(learnt.token_bytes) < wanted.n_tokens:
        raise CorpusTooSmallError(
            f"The corpus yields {len(learnt.token_bytes) - n_old} new tokens that occur "
            f"min_frequency={limits.min_frequency} times, but n_new_tokens={n_new_tokens}; give it "
            "more text or ask for fewer tokens."
        )
    if terms:
        merges_M3 = np.array(vocabulary.merges, np.int32).reshape(-1, 3)
        learnt = require_terms(learnt, words, wanted.n_tokens, terms, cut, base_merges=merges_M3)
    _append(file.tokenizer, vocabulary, learnt)
    return Extended(file.tokenizer, learnt, n_unwritten, n_old)


def _cutter(
    file: TokenizerFile, vocabulary: Vocabulary
) -> Callable[[Sequence[bytes]], list[list[int] | None]]:
    """How the source spells bytes; ``None`` for what it has no pieces for."""
    search = search_of(file, vocabulary)
    lengths = [len(data or b"") for data in vocabulary.token_bytes]

    def cut(words: Sequence[bytes]) -> list[list[int] | None]:
        return [
            ids if sum(lengths[i] for i in ids) == len(data) else None
            for data, ids in zip(words, search(words), strict=True)
        ]

    return cut


def _check_written(n_unwritten: int, counts: PretokenCounts) -> None:
    n_all = int(counts.counts.sum())
    if n_unwritten > _MOST_UNWRITTEN * n_all:
        raise UnsupportedSourceError(
            f"the source tokenizer has no pieces for {n_unwritten} of {n_all} words of the text, "
            f"more than {_MOST_UNWRITTEN:.0%}; choose method: bpe, which can write any text."
        )


def _append(tokenizer: Json, vocabulary: Vocabulary, learnt: Learnt) -> None:
    """Write the new merges and tokens behind the old ones, in the model's own symbols."""
    texts = list(vocabulary.token_text)
    for left, right, result in learnt.merges.tolist():
        if result == len(texts):
            texts.append(texts[left] + texts[right])
    new = {text: number for number, text in enumerate(texts) if number >= len(vocabulary)}
    tokenizer["model"]["vocab"].update(new)
    merges = tokenizer["model"]["merges"]
    as_text = any(isinstance(merge, str) for merge in merges)
    pairs = ((texts[left], texts[right]) for left, right, _ in learnt.merges.tolist())
    merges += [" ".join(pair) if as_text else list(pair) for pair in pairs]


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
