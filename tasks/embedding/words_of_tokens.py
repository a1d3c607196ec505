"""Vectors of tokens in a space of words.

A token that is part of words has a vector by way of them: the weighted mean of the vectors of all
words whose tokenization holds it. With counts as weights this is the second way of WECHSEL
(Minixhofer et al. 2022, section 3), with equal weights that of OFA (Liu et al. 2024, section 3).

Dimensions: V = vocabulary, N = words, S = width of the words' space.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float32, Float64
from scipy.sparse import csr_array, diags_array

from tasks.embedding.pieces import Pieces

Encode = Callable[[Sequence[str]], list[list[int]]]
"""Ids of each text, without special tokens."""


def cut_words(words: Sequence[str], encode: Encode) -> list[Pieces]:
    """Tokenize every word as it stands at a text's start and behind a space."""
    variants = (list(words), [" " + word for word in words])
    return [Pieces.from_lists(encode(variant)) for variant in variants]


def vectors_by_words(
    cuts: Sequence[Pieces],
    weights_N: Float64[np.ndarray, " N"],
    vectors_NS: Float32[np.ndarray, "N S"],
    n_tokens: int,
) -> Float32[np.ndarray, "V S"]:
    """Give each token the weighted mean of the words it is part of.

    Args:
        cuts: tokenizations of all words in the same order. A word counts once for each
            tokenization that holds the token, however often it is in there.
        weights_N: weight of each word, above 0.
        vectors_NS: vector of each word.
        n_tokens: size of the vocabulary.

    Returns:
        Zeros for a token that is part of no word.
    """
    words_V = sum(_holds(cut, n_tokens) for cut in cuts) @ diags_array(weights_N)
    totals_V = np.asarray(words_V.sum(axis=1)).ravel()
    share_V = np.divide(1.0, totals_V, out=np.zeros(n_tokens), where=totals_V > 0)
    return ((diags_array(share_V) @ words_V) @ vectors_NS).astype(np.float32)


def words_by_token(cuts: Sequence[Pieces], n_tokens: int) -> Pieces:
    """List the words that each token is part of, in the words' order.

    Args:
        cuts: tokenizations of all words in the same order; one that holds the token is enough.
        n_tokens: size of the vocabulary.

    Returns:
        Numbers of words in place of old ids; none for a token that is part of no word.
    """
    held = csr_array(sum(_holds(cut, n_tokens) for cut in cuts))
    held.sort_indices()
    return Pieces(held.indices.astype(np.int32), held.indptr.astype(np.int64))


def _holds(cut: Pieces, n_tokens: int) -> csr_array:
    """Tokens by words: 1 where the word's tokenization holds the token."""
    words = np.repeat(np.arange(len(cut)), cut.lengths)
    entries = (np.ones(len(words)), (cut.ids, words))
    held = csr_array(entries, shape=(n_tokens, len(cut)))
    held.data[:] = 1.0
    return held


def token_texts(token_bytes: Sequence[bytes | None]) -> list[str]:
    """Text of each token for a model of text: without surrounding spaces.

    Empty for special tokens, for parts of a character and for space alone, none of which such a
    model knows; two tokens that differ by a leading space have one text.
    """
    return [_text(data or b"").strip() for data in token_bytes]


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return ""
