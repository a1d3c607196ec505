"""Bilingual dictionaries: pairs of words from tables and from dictd's files."""

import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from tasks.shared.errors import InputError

WordPair = tuple[str, str]
"""A word of the source language and one of the target language."""

_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_VALUE = {digit: value for value, digit in enumerate(_DIGITS)}
_REMARK = re.compile(r"\([^)]*\)|\[[^]]*\]|<[^>]*>|\{[^}]*\}|/[^/]*/|\"[^\"]*\"")
_SENSE = re.compile(r"^\s*\d+\.\s+")
# A note ("see: ...", "Synonym: ...") or a headword of its own, which has its pronunciation.
_OTHER_LINE = re.compile(r"^\s*\w+:|/[^/]+/")
_SPLIT = re.compile(r"[,;]")
_MAX_UNPACKED_BYTES = 1 << 30


class DictionaryError(InputError):
    """A bilingual dictionary cannot be read, or its words are in no vectors."""


def read_dictionary(path: Path, *, reverse: bool = False) -> list[WordPair]:
    """Read word pairs in the order of the file, each once.

    ``.index`` is a dictd dictionary, whose definitions lie beside it as ``.dict.dz`` or ``.dict``;
    all else is text with a pair a line, a tab between (or one space and no other).

    Args:
        path: the file.
        reverse: its first language is the target's, not the source's.

    Raises:
        DictionaryError: the file cannot be read, has a line that is no pair, or holds none.
    """
    read = _read_dictd if path.suffix == ".index" else _read_table
    try:
        pairs = list(dict.fromkeys(read(path)))
    except (OSError, UnicodeDecodeError) as error:
        raise DictionaryError(
            f"{path} cannot be read ({error}); check the path, and that it is text in UTF-8."
        ) from None
    if not pairs:
        raise DictionaryError(f"{path} holds no word pairs; give a dictionary that does.")
    return [(second, first) for first, second in pairs] if reverse else pairs


def _read_table(path: Path) -> Iterator[WordPair]:
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            words = line.strip().split("\t") if "\t" in line else line.split()
            if len(words) != 2 or not all(word.strip() for word in words):
                raise DictionaryError(
                    f"Line {number} of {path} is {line.strip()[:60]!r}; a line is a word, one tab "
                    "and its translation."
                )
            yield words[0].strip(), words[1].strip()


def _read_dictd(path: Path) -> Iterator[WordPair]:
    """Take the pairs of every definition that the index points to, in its order."""
    definitions = _definitions(path)
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        headword, *place = line.split("\t")
        if len(place) < 2 or not all(part and set(part) <= _VALUE.keys() for part in place[:2]):
            raise DictionaryError(
                f"Line {number} of {path} is {line[:60]!r}; a line is a word, an offset and a "
                "length in dictd's digits, with tabs between."
            )
        if headword.startswith("00database"):
            continue
        start, length = (_number(part) for part in place[:2])
        if start + length > len(definitions):
            raise DictionaryError(
                f"Line {number} of {path} points behind the end of its definitions "
                f"({len(definitions)} bytes); fetch both files again."
            )
        yield from _pairs(definitions[start : start + length].decode("utf-8"))


def _definitions(path: Path) -> bytes:
    packed, plain = path.with_suffix(".dict.dz"), path.with_suffix(".dict")
    if packed.is_file():
        try:
            with gzip.open(packed) as file:
                definitions = file.read(_MAX_UNPACKED_BYTES + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise DictionaryError(
                f"{packed} cannot be unpacked ({error}); fetch it again, whole."
            ) from error
        if len(definitions) > _MAX_UNPACKED_BYTES:
            raise DictionaryError(
                f"{packed} unpacks to more than {_MAX_UNPACKED_BYTES:,} bytes, which no dictionary "
                "has; fetch it again."
            )
        return definitions
    if plain.is_file():
        return plain.read_bytes()
    raise DictionaryError(
        f"{path} has no definitions: neither {packed.name} nor {plain.name} lies beside it."
    )


def _number(digits: str) -> int:
    value = 0
    for digit in digits:
        value = value * 64 + _VALUE[digit]
    return value


def _pairs(definition: str) -> Iterator[WordPair]:
    """Pair the headword, which stands on the first line, with each translation of one word."""
    first, *lines = definition.splitlines() or [""]
    headword = _REMARK.sub(" ", first).strip()
    if not headword or " " in headword:
        return
    for line in lines:
        if _OTHER_LINE.search(line):
            continue
        for part in _SPLIT.split(_REMARK.sub(" ", _SENSE.sub("", line))):
            word = part.strip()
            if word and " " not in word:
                yield headword, word
