"""Vectors of any text from a fastText model file, by its character n-grams.

A model in fastText's own binary form (Bojanowski et al. 2017) has a vector for every word it was
trained on and for every bucket of n-grams; the vector of a text is the mean of its n-grams'
vectors, and of its own if it is one of the words. The matrix stays in the file: only the rows
that are asked for are read.

Dimensions: N = words, S = width, T = texts, M = some words.
"""

import mmap
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Int64
from scipy.sparse import csr_array

from tasks.embedding.fasttext_kernels import hash_ngrams
from tasks.embedding.word_vectors import WordVectors, WordVectorsError

_MAGIC, _VERSION = 793712314, 12
_HEAD = struct.Struct("<2i12id")
_SIZES = struct.Struct("<3i2q")
_ENTRY = struct.Struct("<qb")
_SHAPE = struct.Struct("<?2q")
_END_OF_LINE = "</s>"
_BLOCK_TEXTS = 4096


@dataclass(frozen=True)
class FastTextModel:
    """Words with their counts, and a matrix of word rows followed by rows of buckets."""

    words: tuple[str, ...]
    counts: Int64[np.ndarray, " N"]
    matrix: Float32[np.ndarray, "R S"]
    shortest: int
    longest: int

    @cached_property
    def _index(self) -> dict[str, int]:
        return {word: row for row, word in enumerate(self.words)}

    def vectors(self, texts: Sequence[str]) -> Float32[np.ndarray, "T S"]:
        """Vectors of texts; zeros for a text of no known n-gram."""
        vectors_TS = np.empty((len(texts), self.matrix.shape[1]), np.float32)
        for start in range(0, len(texts), _BLOCK_TEXTS):
            part = slice(start, start + _BLOCK_TEXTS)
            vectors_TS[part] = self._block(texts[part])
        return vectors_TS

    def word_vectors(self, max_words: int | None = None) -> WordVectors:
        """The vectors of its most frequent words."""
        words = self.words[:max_words]
        return WordVectors(words, self.vectors(words))

    def leading_words(self, max_words: int | None = None) -> "LeadingWords":
        """Its most frequent words, whose vectors are made when they are asked for."""
        return LeadingWords(self, self.words[:max_words])

    def weights(self) -> Float64[np.ndarray, " N"]:
        """Occurrences of each word in the text the model was trained on."""
        return self.counts.astype(np.float64)

    def _block(self, texts: Sequence[str]) -> Float32[np.ndarray, "B S"]:
        n_words = len(self.words)
        coded = [b"" if t in ("", _END_OF_LINE) else f"<{t}>".encode() for t in texts]
        starts = np.append(0, np.cumsum([len(word) for word in coded])).astype(np.int64)
        data = np.frombuffer(b"".join(coded), np.uint8)
        offsets = np.zeros(len(texts) + 1, np.int64)
        grams = np.zeros(0, np.int64)
        if n_buckets := len(self.matrix) - n_words:
            shape = (self.shortest, self.longest, n_buckets)
            hash_ngrams(data, starts, *shape, offsets, grams)
            grams = np.zeros(offsets[-1], np.int64)
            hash_ngrams(data, starts, *shape, offsets, grams)
        own = np.array([self._index.get(text, -1) for text in texts], np.int64)
        known = np.flatnonzero(own >= 0)
        columns = np.concatenate([grams + n_words, own[known]])
        rows = np.concatenate([np.repeat(np.arange(len(texts)), np.diff(offsets)), known])
        used, place = np.unique(columns, return_inverse=True)
        shares = 1.0 / np.maximum(np.bincount(rows, minlength=len(texts)), 1)
        sums = csr_array((shares[rows], (rows, place)), shape=(len(texts), len(used)))
        return (sums @ np.asarray(self.matrix[used])).astype(np.float32)


@dataclass(frozen=True)
class LeadingWords:
    """Some words of a model, in its order."""

    model: FastTextModel
    words: tuple[str, ...]

    @property
    def width(self) -> int:
        """Dimensions of a vector."""
        return self.model.matrix.shape[1]

    def rows(self, at_M: Int64[np.ndarray, " M"]) -> Float32[np.ndarray, "M S"]:
        """Vectors of some of the words, each made once."""
        distinct, place_M = np.unique(at_M, return_inverse=True)
        return self.model.vectors([self.words[i] for i in distinct.tolist()])[place_M]


def read_fasttext_model(path: Path) -> FastTextModel:
    """Open a model that fastText wrote; its matrix stays on disk.

    Raises:
        WordVectorsError: the file is no such model, is quantised, or is cut off.
    """
    try:
        with path.open("rb") as file:
            return _parse(path, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError, struct.error) as error:
        if isinstance(error, WordVectorsError):
            raise
        raise WordVectorsError(
            f"{path} cannot be read as a fastText model ({error}); fetch it again, whole."
        ) from None


def _parse(path: Path, data: mmap.mmap) -> FastTextModel:
    magic, version, width, *_, n_buckets, shortest, longest, _, _ = _HEAD.unpack_from(data)
    if (magic, version) != (_MAGIC, _VERSION):
        raise WordVectorsError(
            f"{path} is no fastText model of version {_VERSION} (it starts with {magic}, "
            f"{version}); read word2vec files as word vectors."
        )
    at = _HEAD.size
    n_entries, n_words, _, _, n_pruned = _SIZES.unpack_from(data, at)
    at += _SIZES.size
    words, counts = list[str](), list[int]()
    for _ in range(n_entries):
        end = data.find(b"\0", at)
        count, kind = _ENTRY.unpack_from(data, end + 1)
        if kind == 0:
            words.append(data[at:end].decode("utf-8", "replace"))
            counts.append(count)
        at = end + 1 + _ENTRY.size
    quantised, n_rows, n_columns = _SHAPE.unpack_from(data, at)
    if quantised or n_pruned >= 0:
        raise WordVectorsError(f"{path} is a quantised fastText model; give the full one (.bin).")
    if n_columns != width or n_rows != n_words + n_buckets:
        raise WordVectorsError(
            f"{path} has a matrix of {n_rows} x {n_columns} for {n_words} words, {n_buckets} "
            f"buckets and width {width}; fetch it again."
        )
    at += _SHAPE.size
    matrix = np.frombuffer(data, "<f4", n_rows * n_columns, at).reshape(n_rows, n_columns)
    return FastTextModel(tuple(words), np.array(counts, np.int64), matrix, shortest, longest)
