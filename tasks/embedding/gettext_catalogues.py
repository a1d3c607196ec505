"""Sentence pairs from compiled gettext catalogues (.mo).

A message stands beside its translation; plural forms are split, and the marks that underline a
letter of a menu entry are taken out.
Source: the format as GNU gettext's manual gives it (section "The Format of GNU MO Files").
"""

import re
import struct
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from tasks.embedding.word_alignment import ParallelTextError

_MAGIC = 0x950412DE
_CHARSET = re.compile(rb"charset=([\w.-]+)")
_MNEMONIC = re.compile(r"[_&~](?=\w)")

Pair = tuple[str, str]


def iter_catalogue_pairs(
    paths: Sequence[Path], batch_pairs: int = 8192
) -> Iterator[tuple[list[str], list[str]]]:
    """Yield messages and their translations, a line each.

    Raises:
        ParallelTextError: a file is no catalogue, or is cut off.
    """
    pairs = (pair for path in paths for pair in _pairs(path))
    while batch := list(islice(pairs, batch_pairs)):
        yield [a for a, _ in batch], [b for _, b in batch]


def _pairs(path: Path) -> Iterator[Pair]:
    try:
        messages = _read(path.read_bytes())
        head = next((text for message, text in messages if not message), b"")
        found = _CHARSET.search(head)
        charset = found[1].decode() if found else "utf-8"
        for message, translation in messages:
            if message and translation:
                singular_plural = message.rpartition(b"\x04")[2].split(b"\0")
                forms = translation.split(b"\0")
                # The first form translates the singular, the last one the plural.
                for source, target in dict.fromkeys(
                    [(singular_plural[0], forms[0]), (singular_plural[-1], forms[-1])]
                ):
                    yield from _lines(source.decode("utf-8"), target.decode(charset))
    except (struct.error, LookupError, UnicodeDecodeError, OSError) as error:
        raise ParallelTextError(
            f"{path} cannot be read as a gettext catalogue ({error}); give whole .mo files."
        ) from None


def _read(data: bytes) -> list[tuple[bytes, bytes]]:
    """Messages and translations as bytes, in the order of the file."""
    order = "<" if data[:4] == struct.pack("<I", _MAGIC) else ">"
    magic, _, n_strings, *tables = struct.unpack_from(f"{order}5I", data)
    if magic != _MAGIC:
        raise LookupError(f"it starts with {data[:4]!r}")

    def strings(at: int) -> Iterator[bytes]:
        for number in range(n_strings):
            length, start = struct.unpack_from(f"{order}2I", data, at + 8 * number)
            if start + length > len(data):
                raise LookupError(f"it ends within string {number} of {n_strings}")
            yield data[start : start + length]

    return list(zip(strings(tables[0]), strings(tables[1]), strict=True))


def _lines(message: str, translation: str) -> Iterator[Pair]:
    """Line by line where both have as many, else as one line each."""
    if len(_MNEMONIC.findall(message)) == len(_MNEMONIC.findall(translation)) == 1:
        message, translation = (_MNEMONIC.sub("", text) for text in (message, translation))
    sides = [[line.strip() for line in text.splitlines()] for text in (message, translation)]
    if len(sides[0]) != len(sides[1]):
        sides = [[" ".join(filter(None, lines))] for lines in sides]
    yield from ((a, b) for a, b in zip(*sides, strict=True) if a and b)
