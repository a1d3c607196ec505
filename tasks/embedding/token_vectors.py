"""Vectors of a tokenizer's tokens from the company they keep, by fastText.

A document is written as its tokens with spaces between them, each token in the printable byte
alphabet, and fastText learns a vector a token from the tokens around it (CBOW, Bojanowski et al.
2017), together with vectors of the token's character n-grams; here a character is a byte.

Dimensions: W = new vocabulary, A = width of the vectors.
"""

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from tasks.shared.byte_alphabet import to_alphabet
from tasks.shared.errors import InputError

LINE_END = "</s>"
"""fastText's own word for the end of a line; a token spelt like it gets no vector."""


class MissingFastTextError(InputError):
    """The library that trains token vectors is not installed."""


class TooLittleTextError(InputError):
    """No token occurs often enough to get a vector."""


def train_token_vectors(
    documents: Iterable[np.ndarray],
    token_bytes: Sequence[bytes | None],
    *,
    dimensions: int,
    epochs: int,
    window_tokens: int,
    min_count: int,
    n_negatives: int,
    max_ngram_bytes: int,
    n_buckets: int,
) -> Float32[np.ndarray, "W A"]:
    """Train with one thread, so that the same text gives the same vectors, bit for bit.

    Args:
        documents: ids of the new tokenizer, an array a document, read once.
        token_bytes: bytes of each new token, None for special tokens, which are left out.
        dimensions: width of the vectors.
        epochs: passes over the text.
        window_tokens: largest distance of two tokens that see each other.
        min_count: occurrences a token needs to get a vector.
        n_negatives: random tokens each true one is told from.
        max_ngram_bytes: longest n-gram of a token that has a vector of its own, from 3 on; 0 for
            none.
        n_buckets: hash buckets of n-grams; they take 4 * dimensions bytes of memory each.

    Returns:
        A vector a token; zero where the token has none.

    Raises:
        MissingFastTextError: fastText is not installed.
        TooLittleTextError: no token occurs ``min_count`` times.
    """
    fasttext = load_fasttext()
    words = [None if b is None or b == LINE_END.encode() else to_alphabet(b) for b in token_bytes]
    with tempfile.TemporaryDirectory() as folder:
        # The library reads nothing but a file.
        path = Path(folder) / "tokens.txt"
        counts_W = _write(path, documents, words)
        if not (counts_W >= min_count).any():
            raise TooLittleTextError(
                f"the most frequent of the corpus's {int(counts_W.sum())} tokens occurs "
                f"{int(counts_W.max(initial=0))} times, and a vector needs {min_count}; give more "
                "text, or lower min_count."
            )
        model = fasttext.train_unsupervised(
            str(path),
            model="cbow",
            dim=dimensions,
            epoch=epochs,
            ws=window_tokens,
            minCount=min_count,
            neg=n_negatives,
            minn=min(3, max_ngram_bytes),
            maxn=max_ngram_bytes,
            bucket=n_buckets,
            thread=1,
            verbose=0,
        )
    vector_of = {word: model.get_word_vector(word) for word in model.get_words()}
    nothing = np.zeros(dimensions, np.float32)
    return np.stack([nothing if w is None else vector_of.get(w, nothing) for w in words])


def _write(
    path: Path, documents: Iterable[np.ndarray], words: Sequence[str | None]
) -> Int64[np.ndarray, " W"]:
    """Write a line a document and count the tokens on the way."""
    counts_W = np.zeros(len(words), np.int64)
    has_word_W = np.array([word is not None for word in words], dtype=bool)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for document in documents:
            ids = document.astype(np.int64)
            ids = ids[has_word_W[ids]]
            counts_W += np.bincount(ids, minlength=len(words))
            file.write(" ".join([words[i] or "" for i in ids.tolist()]) + "\n")
    return counts_W


def load_fasttext() -> Any:
    """The library, which is an extra.

    Raises:
        MissingFastTextError: it is not installed.
    """
    try:
        import fasttext  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingFastTextError(
            "vectors are trained with fastText, which is not installed; run "
            "`pip install tokgraft[vectors]`, or choose another initialiser."
        ) from error
    return fasttext
