"""From a file's bytes to documents.

Text is taken as it stands but for line ends; pages lose their markup. What is not UTF-8 is no
document: it is counted and dropped, never guessed at.
"""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import PurePosixPath

from tasks.corpus.apt_descriptions import package_descriptions
from tasks.corpus.errors import UnknownFormatError, UnreadableFileError
from tasks.corpus.fortunes import fortunes
from tasks.corpus.roff import page_text
from tasks.corpus.web_pages import html_text, mallard_text

_BY_SUFFIX = {
    ".txt": "txt",
    ".md": "md",
    ".rst": "rst",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".py": "py",
    ".jsonl": "jsonl",
    ".parquet": "parquet",
    ".page": "mallard",
}
_CONVERTERS: dict[str, Callable[[str], str]] = {
    "html": html_text,
    "mallard": mallard_text,
    "man": page_text,
}

MAX_DOCUMENT_BYTES = 1 << 30
"""Unpacked: a .gz file of a megabyte can hold more than the memory."""


@dataclass(frozen=True)
class Rejected:
    """Bytes that are no document."""

    rule: str
    n_bytes: int


def format_of(name: str) -> str:
    """Format by suffix, ``.gz`` on top ignored.

    Raises:
        UnknownFormatError: the suffix is none of those that are read.
    """
    suffix = PurePosixPath(name.removesuffix(".gz")).suffix.lower()
    if suffix not in _BY_SUFFIX:
        raise UnknownFormatError(
            f"{name}: suffix {suffix!r} names no known format; known are "
            f"{', '.join(sorted(_BY_SUFFIX))}, each also with .gz. Set the source's format, or "
            "narrow its paths."
        )
    return _BY_SUFFIX[suffix]


def uncompressed(name: str, file: BufferedIOBase) -> BufferedIOBase:
    """The file's content, unpacked when its name ends in ``.gz``."""
    return gzip.open(file) if name.endswith(".gz") else file


def documents_in(
    name: str, format: str, file: BufferedIOBase, text_field: str = "text", language: str = ""
) -> Iterator[str | Rejected]:
    """Yield the documents of one file, in its order.

    Args:
        name: for messages; a final ``.gz`` says it is packed.
        format: one that ``format_of`` or a source names, but ``parquet``.
        file: open for reading bytes.
        text_field: of a JSON line.
        language: of APT's descriptions.

    Raises:
        UnreadableFileError: broken gzip, a JSON line without the field, or a document too large.
    """
    try:
        content = uncompressed(name, file)
        if format == "jsonl":
            lines = iter(lambda: _read(name, content.readline), b"")
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _json_document(f"{name}, line {number}", line, text_field)
            return
        data = _read(name, content.read)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UnreadableFileError(
            f"{name} is no whole gzip file ({error}); write it again or leave it out."
        ) from error
    text = decoded(data)
    if text is None:
        yield Rejected("not_utf8", len(data))
    elif format == "apt_descriptions":
        yield from package_descriptions(text, language)
    elif format == "fortune":
        yield from fortunes(text)
    else:
        yield tidy(_CONVERTERS[format](text) if format in _CONVERTERS else text)


def _read(name: str, read: Callable[[int], bytes]) -> bytes:
    data = read(MAX_DOCUMENT_BYTES + 1)
    if len(data) > MAX_DOCUMENT_BYTES:
        raise UnreadableFileError(
            f"{name} holds one document of more than {MAX_DOCUMENT_BYTES:,} bytes (unpacked); cut "
            "it into documents, or leave it out."
        )
    return data


def decoded(data: bytes) -> str | None:
    """The bytes as text; None when they are not UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def tidy(text: str) -> str:
    """The same text with Unix line ends, no blank lines around it, and one newline at its end."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip("\n")
    return f"{text}\n" if text.strip() else ""


def _json_document(place: str, line: bytes, text_field: str) -> str | Rejected:
    text = decoded(line)
    if text is None:
        return Rejected("not_utf8", len(line))
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        raise UnreadableFileError(
            f"{place} is no JSON ({error}); a .jsonl file holds one JSON object a line."
        ) from error
    if not isinstance(record, dict) or not isinstance(record.get(text_field), str):
        found = sorted(record) if isinstance(record, dict) else type(record).__name__
        raise UnreadableFileError(
            f"{place} has no text in field {text_field!r} (found {found}); set the source's "
            "text_field to the one that holds the text."
        )
    return _encodable(record[text_field])


def _encodable(text: str) -> str | Rejected:
    try:
        text.encode()
    except UnicodeEncodeError:
        return Rejected("not_utf8", len(text.encode(errors="surrogatepass")))
    return tidy(text)
