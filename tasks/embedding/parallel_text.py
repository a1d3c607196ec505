"""Sentence pairs from two files that are translations of each other, line by line."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tasks.embedding.word_alignment import ParallelTextError

Batch = tuple[list[str], list[str]]


def iter_sentence_pairs(source: Path, target: Path, batch_lines: int = 8192) -> Iterator[Batch]:
    """Read both files in step; pairs of which one line is empty are passed over.

    Raises:
        ParallelTextError: a file cannot be read, or one is longer than the other.
    """
    number = 0
    try:
        with source.open(encoding="utf-8") as left, target.open(encoding="utf-8") as right:
            while True:
                pair = list(islice(left, batch_lines)), list(islice(right, batch_lines))
                if len(pair[0]) != len(pair[1]):
                    raise ParallelTextError(
                        f"{source} and {target} have differing numbers of lines (the shorter has "
                        f"{number + min(map(len, pair))}); give files that match line by line."
                    )
                if not pair[0]:
                    return
                number += len(pair[0])
                kept = [(a.strip(), b.strip()) for a, b in zip(*pair, strict=True)]
                kept = [(a, b) for a, b in kept if a and b]
                yield [a for a, _ in kept], [b for _, b in kept]
    except (OSError, UnicodeDecodeError) as error:
        raise ParallelTextError(
            f"{source} or {target} cannot be read ({error}); check the paths, and that both are "
            "text in UTF-8."
        ) from None
