"""How much text a token holds."""

from collections.abc import Iterable
from itertools import islice

from tokenizers import Tokenizer

_BATCH = 256


def count_tokens(tokenizer: Tokenizer, texts: Iterable[str]) -> int:
    """Count the tokens of texts, without the special tokens around them."""
    remaining = iter(texts)
    n_tokens = 0
    while batch := list(islice(remaining, _BATCH)):
        encodings = tokenizer.encode_batch_fast(batch, add_special_tokens=False)
        n_tokens += sum(map(len, encodings))
    return n_tokens


def bytes_per_token(tokenizer: Tokenizer, texts: Iterable[str]) -> float | None:
    """Divide the UTF-8 bytes of texts by their tokens; ``None`` where there are none.

    Bytes are the original text's, before any normaliser, so that the figure compares across
    tokenizers.
    """
    kept = list(texts)
    n_tokens = count_tokens(tokenizer, kept)
    return sum(len(text.encode()) for text in kept) / n_tokens if n_tokens else None
