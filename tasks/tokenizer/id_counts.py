"""How often each id of a tokenizer occurs in texts, and how many tokens each text has."""

from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
from jaxtyping import Int64
from tokenizers import Encoding

from tasks.shared.text_tokenizer import ExactEncoding, TextTokenizer

_BATCH_CHARACTERS = 200_000
"""Holds many short words or a few documents, so that neither calls nor memory grow large."""


def count_ids(
    tokenizer: TextTokenizer, texts: Iterable[str], n_ids: int
) -> Int64[np.ndarray, " V"]:
    """Count each id over all texts, without the special tokens around a text.

    Args:
        tokenizer: any.
        texts: documents, read once.
        n_ids: its largest id plus one.
    """
    counts_V = np.zeros(n_ids, dtype=np.int64)
    for encodings in _encode(tokenizer, texts):
        ids = np.fromiter(chain.from_iterable(one.ids for one in encodings), dtype=np.int64)
        counts_V += np.bincount(ids, minlength=n_ids)
    return counts_V


def count_tokens_of_each(tokenizer: TextTokenizer, texts: Iterable[str]) -> Int64[np.ndarray, " T"]:
    """Count the tokens of each text, without the special tokens around it."""
    lengths = chain.from_iterable(map(len, batch) for batch in _encode(tokenizer, texts))
    return np.fromiter(lengths, dtype=np.int64)


def _encode(
    tokenizer: TextTokenizer, texts: Iterable[str]
) -> Iterator[list[Encoding] | list[ExactEncoding]]:
    batch: list[str] = []
    n_characters = 0
    for text in texts:
        batch.append(text)
        n_characters += len(text)
        if n_characters >= _BATCH_CHARACTERS:
            yield tokenizer.encode_batch_fast(batch, add_special_tokens=False)
            batch, n_characters = [], 0
    if batch:
        yield tokenizer.encode_batch_fast(batch, add_special_tokens=False)
