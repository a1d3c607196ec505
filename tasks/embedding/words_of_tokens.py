"""Vectors of tokens in a space of words.

A token that is part of words has a vector by way of them: the weighted mean of the vectors of all
words whose tokenization holds it. With counts as weights this is the second way of WECHSEL
(Minixhofer et al. 2022, section 3); with equal weights, and words capitalised too, that of OFA (Liu
et al. 2024, section 3).

Dimensions: V = vocabulary, N = words, S = width of the words' space.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float32, Float64
from scipy.sparse import csr_array, diags_array

from tasks.embedding.pieces import Pieces

Encode = Callable[[Sequence[str]], list[list[int]]]
"""Ids of each text, without special tokens."""


BLOCK_WORDS = 2**13
"""Words whose cuts, or vectors, are in memory as more than numbers at a time."""


def cut_words(words: Sequence[str], encode: Encode, *, capitalised: bool = False) -> list[Pieces]:
    """Tokenize every word as it stands at a text's start and behind a space.

    Args:
        words: of any number.
        encode: the tokens' tokenizer.
        capitalised: with a capital letter too, in both places. A word that has one already is cut
            into nothing there, so that it counts no more than others.
    """
    spellings = [list(words)]
    if capitalised:
        capitals = [word[:1].upper() + word[1:] for word in words]
        spellings.append([c if c != w else "" for w, c in zip(words, capitals, strict=True)])
    return [
        _cut([space + word if word else "" for word in spelling], encode)
        for spelling in spellings
        for space in ("", " ")
    ]


def _cut(texts: list[str], encode: Encode) -> Pieces:
    starts = range(0, len(texts), BLOCK_WORDS)
    return Pieces.joined([Pieces.from_lists(encode(texts[i : i + BLOCK_WORDS])) for i in starts])


class TokenMeans:
    """Weighted means of the words that each token is part of, taken in words part by part."""

    def __init__(self, n_tokens: int, width: int) -> None:
        """Begin without words."""
        self._sums_VS = np.zeros((n_tokens, width))
        self._totals_V = np.zeros(n_tokens)

    def add(
        self,
        cuts: Sequence[Pieces],
        weights_N: Float64[np.ndarray, " N"],
        vectors_NS: Float32[np.ndarray, "N S"],
    ) -> None:
        """Take in words.

        Args:
            cuts: tokenizations of all words in the same order. A word counts once for each
                tokenization that holds the token, however often it is in there.
            weights_N: weight of each word, above 0.
            vectors_NS: vector of each word.
        """
        held = sum(_holds(cut, len(self._totals_V)) for cut in cuts)
        words_VN = csr_array(held @ diags_array(weights_N))
        present = np.flatnonzero(np.diff(words_VN.indptr))
        self._sums_VS[present] += words_VN[present] @ vectors_NS
        self._totals_V += np.asarray(words_VN.sum(axis=1)).ravel()

    def result(self) -> Float32[np.ndarray, "V S"]:
        """The means; zeros for a token that is part of no word."""
        totals_V1 = np.where(self._totals_V > 0, self._totals_V, 1.0)[:, None]
        return (self._sums_VS / totals_V1).astype(np.float32)


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
