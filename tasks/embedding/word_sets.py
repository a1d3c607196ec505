"""The words that each token is part of, with their vectors, as a network reads them.

Dimensions: N = words, S = width of the words' space, B = tokens of a batch, T = words of a token.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from tasks.embedding.pieces import Pieces

KEPT_SHARE, THINNED_FROM = 0.5, 5
"""Least share of its words that a token keeps in training, if it has at least so many."""


@dataclass(frozen=True)
class WordSets:
    """Words of tokens, and the words' vectors."""

    vectors: Float32[np.ndarray, "N S"]
    words: Pieces
    """Numbers of words of each token, the most frequent first."""

    def read(
        self, tokens: Int64[np.ndarray, " B"], max_words: int, rng: np.random.Generator | None
    ) -> tuple[Float32[np.ndarray, "B T S"], Int64[np.ndarray, " B"]]:
        """Vectors of the words of some tokens, padded, and how many; thinned out with ``rng``."""
        lists = [np.array(self.words.of(t)[:max_words]) for t in tokens.tolist()]
        if rng is not None:
            lists = [_thinned(words, rng) for words in lists]
        lengths_B = np.array([len(words) for words in lists])
        is_word_BT = np.arange(lengths_B.max()) < lengths_B[:, None]
        vectors_BTS = np.zeros((*is_word_BT.shape, self.vectors.shape[1]), np.float32)
        vectors_BTS[is_word_BT] = self.vectors[np.concatenate(lists)]
        return vectors_BTS, lengths_B


def _thinned(words: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if len(words) < THINNED_FROM:
        return words
    n_kept = round(float(rng.uniform(KEPT_SHARE, 1.0)) * len(words))
    return words[np.sort(rng.choice(len(words), n_kept, replace=False))]
