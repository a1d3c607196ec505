"""Vectors of a vocabulary's tokens, from any source of word vectors.

Dimensions: V = vocabulary, N = words, S = width of the words' space.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Float64

from tasks.embedding.config_vectors import TokenVectorRule
from tasks.embedding.fasttext_model import FastTextModel
from tasks.embedding.word_vectors import WordVectors
from tasks.embedding.words_of_tokens import Encode, cut_words, token_texts, vectors_by_words


def vectors_of_tokens(
    vectors: WordVectors | FastTextModel,
    by: TokenVectorRule,
    max_words: int | None,
    token_bytes: Sequence[bytes | None],
    encode: Encode,
    *,
    equal_weights: bool = False,
) -> Float32[np.ndarray, "V S"]:
    """Vectors by a token's own n-grams, or by the words it is part of.

    Args:
        vectors: of words, or of anything.
        by: which of the two; words alone have no n-grams.
        max_words: use no more words than this.
        token_bytes: bytes of each token.
        encode: the tokens' tokenizer.
        equal_weights: let every word count alike, not by how often it occurs.
    """
    if isinstance(vectors, FastTextModel) and by == "ngrams":
        return vectors.vectors(token_texts(token_bytes))
    words, weights_N = _weighted(vectors, max_words)
    # A word of nothing but zeros, as fastText's sign for a line's end, says nothing.
    known = np.flatnonzero(words.vectors.any(axis=1))
    cuts = cut_words([words.words[i] for i in known.tolist()], encode)
    weights_N = np.ones(len(known)) if equal_weights else weights_N[known]
    return vectors_by_words(cuts, weights_N, words.vectors[known], len(token_bytes))


def _weighted(
    vectors: WordVectors | FastTextModel, max_words: int | None
) -> tuple[WordVectors, Float64[np.ndarray, " N"]]:
    if isinstance(vectors, FastTextModel):
        return vectors.word_vectors(max_words), vectors.weights()[:max_words]
    return vectors, vectors.zipf_weights()
