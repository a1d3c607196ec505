"""Vectors of words from the company they keep, trained by fastText.

Text is cut into words and signs; fastText learns a vector a word from the words around it (CBOW,
Bojanowski et al. 2017) and one for each bucket of n-grams of characters, so that any string has
a vector.
"""

import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from tasks.embedding.fasttext_model import FastTextModel, read_fasttext_model
from tasks.embedding.token_vectors import TooLittleTextError, load_fasttext
from tasks.shared.errors import InputError

_WORDS = re.compile(r"\w+|[^\w\s]")


class TrainingTextError(InputError):
    """A text that vectors are to be trained on cannot be read."""


def train_word_model(
    texts: Iterable[str],
    name: str,
    *,
    dimensions: int,
    epochs: int,
    window_words: int,
    min_count: int,
    n_negatives: int,
    max_ngram_characters: int,
    n_buckets: int,
) -> FastTextModel:
    """Train with one thread, so that the same text gives the same vectors, bit for bit.

    Args:
        texts: read once.
        name: what the vectors are for, for the error.
        dimensions: width of the vectors.
        epochs: passes over the text.
        window_words: largest distance of two words that see each other.
        min_count: occurrences a word needs to get a vector.
        n_negatives: random words each true one is told from.
        max_ngram_characters: longest n-gram that has a vector of its own, from 3 on.
        n_buckets: hash buckets of n-grams; they take 4 * dimensions bytes of memory each.

    Raises:
        MissingFastTextError: fastText is not installed.
        TooLittleTextError: no word occurs ``min_count`` times.
    """
    fasttext = load_fasttext()
    with tempfile.TemporaryDirectory(prefix="tokgraft-words-") as folder:
        # The library reads and writes nothing but files.
        path = Path(folder) / "words.txt"
        counts = _write(path, texts)
        highest = max(counts.values(), default=0)
        if highest < min_count:
            raise TooLittleTextError(
                f"the most frequent of {counts.total()} words to train {name} on occurs {highest} "
                f"times, and a vector needs {min_count}; give more text, or lower min_count."
            )
        model = fasttext.train_unsupervised(
            str(path),
            model="cbow",
            dim=dimensions,
            epoch=epochs,
            ws=window_words,
            minCount=min_count,
            neg=n_negatives,
            minn=3,
            maxn=max_ngram_characters,
            bucket=n_buckets,
            thread=1,
            verbose=0,
        )
        saved = Path(folder) / "words.bin"
        model.save_model(str(saved))
        return read_fasttext_model(saved)  # what is mapped stays readable when the file is gone


def first_lines(path: Path, max_bytes: int) -> Iterator[str]:
    """Lines of a text file until they hold so many bytes.

    Raises:
        TrainingTextError: it cannot be read as UTF-8.
    """
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                if max_bytes <= 0:
                    return
                max_bytes -= len(line.encode())
                yield line
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingTextError(
            f"{path} cannot be read ({error}); check the path, and that it is text in UTF-8."
        ) from None


def _write(path: Path, texts: Iterable[str]) -> Counter[str]:
    """Write a line a text and count the words on the way."""
    counts: Counter[str] = Counter()
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for text in texts:
            words = _WORDS.findall(text)
            counts.update(words)
            file.write(" ".join(words) + "\n")
    return counts
