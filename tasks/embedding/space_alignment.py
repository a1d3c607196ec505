"""Turn the word vectors of one language into the space of another.

Word pairs of a bilingual dictionary say where two spaces should meet; the orthogonal matrix that
brings them closest is the solution of Procrustes (Schönemann 1966; for words Artetxe et al. 2016).

Dimensions: N = words, S = width, M = meeting points.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Float64, Int64
from scipy.linalg import orthogonal_procrustes

from tasks.embedding.dictionaries import DictionaryError, WordPair
from tasks.embedding.nearest_tokens import VectorWidthError


@dataclass(frozen=True)
class SpaceAlignment:
    """``source vectors @ rotation`` lie in the target's space."""

    rotation: Float64[np.ndarray, "S S"]
    n_pairs: int
    """Word pairs of which both words have a vector, in some spelling."""


@runtime_checkable
class Words(Protocol):
    """Words of a language and, for those that are asked for, their vectors."""

    @property
    def words(self) -> tuple[str, ...]:
        """All of them, the most frequent first."""
        ...

    @property
    def width(self) -> int:
        """Dimensions of a vector."""
        ...

    def rows(self, at_M: Int64[np.ndarray, " M"]) -> Float32[np.ndarray, "M S"]:
        """Vectors of the words at these places."""
        ...


def align_spaces(source: Words, target: Words, dictionary: Sequence[WordPair]) -> SpaceAlignment:
    """Rotate the source's space onto the target's.

    Each pair counts once for each of its nine spellings (as it is, lower case, title case, of
    either word) that both have, equal ones too, as in WECHSEL.

    Raises:
        VectorWidthError: the two have vectors of differing width.
        DictionaryError: no pair has a vector for both of its words.
    """
    widths = source.width, target.width
    if widths[0] != widths[1]:
        raise VectorWidthError(
            f"source words have vectors of {widths[0]} dimensions and target words of {widths[1]}; "
            "give vectors of one width for both."
        )
    rows, n_pairs = _meeting_rows(source, target, dictionary)
    if not n_pairs:
        raise DictionaryError(
            f"none of {len(dictionary)} word pairs has both words in the vectors (first pair: "
            f"{dictionary[0] if dictionary else None}; first source words: "
            f"{list(source.words[:3])}, first target words: {list(target.words[:3])}); check the "
            "languages and the direction of the dictionary."
        )
    source_MS, target_MS = source.rows(rows[:, 0]), target.rows(rows[:, 1])
    rotation, _ = orthogonal_procrustes(source_MS.astype(np.float64), target_MS.astype(np.float64))
    return SpaceAlignment(rotation, n_pairs)


def _meeting_rows(
    source: Words, target: Words, dictionary: Sequence[WordPair]
) -> tuple[np.ndarray, int]:
    source_index = _places(source, (pair[0] for pair in dictionary))
    target_index = _places(target, (pair[1] for pair in dictionary))
    rows, n_pairs = list[tuple[int, int]](), 0
    for source_word, target_word in dictionary:
        left = [source_index[w] for w in _spellings(source_word) if w in source_index]
        right = [target_index[w] for w in _spellings(target_word) if w in target_index]
        rows += [(a, b) for a in left for b in right]
        n_pairs += bool(left and right)
    return np.array(rows, np.int64).reshape(-1, 2), n_pairs


def _places(space: Words, asked: Iterable[str]) -> dict[str, int]:
    """Where the words stand that are asked for, in some spelling."""
    spelled = {spelling for word in asked for spelling in _spellings(word)}
    return {word: row for row, word in enumerate(space.words) if word in spelled}


def _spellings(word: str) -> tuple[str, str, str]:
    return word, word.lower(), word.title()
