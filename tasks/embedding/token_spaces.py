"""Vectors of a vocabulary's tokens, from any source of word vectors.

Dimensions: V = vocabulary, N = words, S = width of the words' space.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from tasks.embedding.config_vectors import TokenVectorRule
from tasks.embedding.fasttext_model import FastTextModel
from tasks.embedding.word_vectors import WordVectors
from tasks.embedding.words_of_tokens import (
    BLOCK_WORDS,
    Encode,
    TokenMeans,
    cut_words,
    token_texts,
)


def vectors_of_tokens(
    vectors: WordVectors | FastTextModel,
    by: TokenVectorRule,
    max_words: int | None,
    token_bytes: Sequence[bytes | None],
    encode: Encode,
    *,
    as_ofa: bool = False,
) -> Float32[np.ndarray, "V S"]:
    """Vectors by a token's own n-grams, or by the words it is part of.

    Args:
        vectors: of words, or of anything.
        by: which of the two; words alone have no n-grams.
        max_words: use no more words than this.
        token_bytes: bytes of each token.
        encode: the tokens' tokenizer.
        as_ofa: let every word count alike, not by how often it occurs, and capitalised too.
    """
    if isinstance(vectors, FastTextModel) and by == "ngrams":
        return vectors.vectors(token_texts(token_bytes))
    words = vectors.words[:max_words]
    of_file = isinstance(vectors, WordVectors)
    weights_N = (vectors.zipf_weights() if of_file else vectors.weights())[: len(words)]
    width = (vectors.vectors if of_file else vectors.matrix).shape[1]
    means = TokenMeans(len(token_bytes), width)
    for start in range(0, len(words), BLOCK_WORDS):
        part = slice(start, start + BLOCK_WORDS)
        vectors_BS = vectors.vectors[part] if of_file else vectors.vectors(words[part])
        # A word of nothing but zeros, as fastText's sign for a line's end, says nothing.
        known = np.flatnonzero(vectors_BS.any(axis=1))
        cuts = cut_words([words[start + i] for i in known.tolist()], encode, capitalised=as_ofa)
        weights = np.ones(len(known)) if as_ofa else weights_N[part][known]
        means.add(cuts, weights, vectors_BS[known])
    return means.result()
