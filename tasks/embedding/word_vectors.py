"""Vectors of words from word2vec and fastText files of words.

Dimensions: N = words, S = width, M = some words.
"""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Int64

from tasks.shared.errors import InputError


class WordVectorsError(InputError):
    """A file of word vectors cannot be read or holds none."""


@dataclass(frozen=True)
class WordVectors:
    """Words and their vectors, in the order of the file: the most frequent first."""

    words: tuple[str, ...]
    vectors: Float32[np.ndarray, "N S"]

    def zipf_weights(self) -> Float64[np.ndarray, " N"]:
        """Weigh each word by 1 / its rank, since these files hold no counts (Zipf's law)."""
        return 1.0 / np.arange(1, len(self.words) + 1)

    @property
    def width(self) -> int:
        """Dimensions of a vector."""
        return self.vectors.shape[1]

    def rows(self, at_M: Int64[np.ndarray, " M"]) -> Float32[np.ndarray, "M S"]:
        """Vectors of some words."""
        return self.vectors[at_M]


def read_word_vectors(path: Path, max_words: int | None = None) -> WordVectors:
    """Read the first words of a file and their vectors.

    ``.bin`` is word2vec's binary form; all else is text: a word and its numbers a line, behind a
    line with the number of words and of dimensions, which may be missing (GloVe). A word that
    comes again is passed over.

    Args:
        path: the file.
        max_words: read no more words than this.

    Raises:
        WordVectorsError: the file cannot be read, is damaged, or holds no words.
    """
    read = _read_binary if path.suffix == ".bin" else _read_text
    found = dict[str, np.ndarray]()
    try:
        for word, vector in read(path):
            found.setdefault(word, vector)
            if len(found) == max_words:
                break
    except (OSError, UnicodeDecodeError) as error:
        raise WordVectorsError(
            f"{path} cannot be read ({error}); check the path and that it is text in UTF-8."
        ) from None
    if not found:
        raise WordVectorsError(f"{path} holds no words; give a file with a word a line.")
    vectors_NS = np.stack(list(found.values()))
    if not np.isfinite(vectors_NS).all():
        bad = int(np.flatnonzero(~np.isfinite(vectors_NS).all(axis=1))[0])
        raise WordVectorsError(
            f"The vector of {list(found)[bad]!r} in {path} is not finite; take the word out."
        )
    return WordVectors(tuple(found), vectors_NS)


def _read_text(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    width: int | None = None
    with path.open(encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, 1):
            word, *numbers = line.rstrip().split(" ")
            if number == 1 and len(numbers) == 1 and word.isdigit() and numbers[0].isdigit():
                width = int(numbers[0])
                continue
            width = width or len(numbers)
            try:
                vector = np.array(numbers, np.float32)
            except ValueError:
                vector = np.empty(0, np.float32)
            if len(vector) != width or not width:
                raise WordVectorsError(
                    f"Line {number} of {path} is {line.rstrip()[:60]!r}; a line is a word and "
                    f"{width} numbers, with one space between."
                )
            yield word, vector


def _read_binary(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    if not path.stat().st_size:
        return
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    head, at = _until(data, 0, b"\n")
    sizes = head.split()
    if len(sizes) != 2 or not all(size.isdigit() for size in sizes):
        raise WordVectorsError(
            f"{path} starts with {head[:20]!r}, not with a number of words and one of dimensions; "
            "give word2vec's binary form, or name a fastText model as one."
        )
    n_words, width = int(sizes[0]), int(sizes[1])
    for number in range(1, n_words + 1):
        word, at = _until(data, at, b" ")
        vector = data[at : at + 4 * width]
        if len(vector) < 4 * width:
            raise WordVectorsError(
                f"{path} ends within word {number} of {n_words}; fetch it again, whole."
            )
        yield word.lstrip(b"\n").decode("utf-8"), np.frombuffer(vector, "<f4").astype(np.float32)
        at += 4 * width


def _until(data: mmap.mmap, start: int, end: bytes) -> tuple[bytes, int]:
    """Bytes before ``end`` and the place behind it; the end of the file if there is none."""
    found = data.find(end, start)
    return (data[start:found], found + 1) if found >= 0 else (b"", len(data))
