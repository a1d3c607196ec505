"""Documents of each format, and the named failures of broken files."""

import gzip
import io
import json

import pytest
from pydantic import ValidationError

from tasks.corpus.config import CorpusConfig
from tasks.corpus.errors import UnknownFormatError, UnreadableFileError
from tasks.corpus.formats import Rejected, documents_in, format_of


def read(name: str, data: bytes, format: str = "", **options: str) -> list[str | Rejected]:
    return list(documents_in(name, format or format_of(name), io.BytesIO(data), **options))


@pytest.mark.parametrize(
    ("name", "format"),
    [("a.txt", "txt"), ("b/c.MD", "md"), ("d.html.gz", "html"), ("e.jsonl.gz", "jsonl")],
)
def test_format_by_suffix(name: str, format: str):
    assert format_of(name) == format


@pytest.mark.parametrize("name", ["a.pdf", "b", "c.tar.gz"])
def test_unknown_suffix_is_refused(name: str):
    with pytest.raises(UnknownFormatError, match=r"names no known format.*Set the source's format"):
        format_of(name)


def test_plain_text_stands_as_it_is_but_for_line_ends():
    assert read("a.txt", "\ufeffÄ\r\n\r\n  b \r\n\r\n".encode()) == ["Ä\n\n  b \n"]
    assert read("a.py.gz", gzip.compress(b"def f():\n    return 1\n")) == [
        "def f():\n    return 1\n"
    ]


def test_html_loses_its_markup():
    assert read("a.html", b"<p>Ein <b>Wort</b></p>") == ["Ein Wort\n"]


def test_json_lines_are_documents():
    data = "".join(json.dumps({"body": text}) + "\n" for text in ("eins", "zwei\n")) + "\n"
    assert read("a.jsonl", data.encode(), text_field="body") == ["eins\n", "zwei\n"]


def test_fortunes_are_documents_without_the_line_breaks_of_a_terminal():
    data = (
        "Eine Zeile, die für das Terminal umbrochen worden ist,\n"
        "geht hier weiter.\n\t\t-- Goethe\n%\nKurze Verse,\nbleiben so.\n%\n"
    )
    assert read("zitate", data.encode(), "fortune") == [
        "Eine Zeile, die für das Terminal umbrochen worden ist, geht hier weiter.\n-- Goethe\n",
        "Kurze Verse,\nbleiben so.\n",
        "",
    ]


def test_text_that_is_not_utf8_is_counted_not_guessed():
    assert read("a.txt", "Größe".encode("latin-1")) == [Rejected("not_utf8", 5)]
    lines = b'{"text": "ok"}\n{"text": "\xff"}\n'
    assert read("a.jsonl", lines) == ["ok\n", Rejected("not_utf8", 14)]
    assert read("a.jsonl", b'{"text": "\\ud800"}\n') == [Rejected("not_utf8", 3)]


def test_broken_gzip_is_named():
    whole = gzip.compress(b"text " * 1000)
    for broken in (whole[: len(whole) // 2], b"no gzip at all", whole[:20] + b"\xff" + whole[21:]):
        with pytest.raises(UnreadableFileError, match=r"a\.txt\.gz is no whole gzip file"):
            read("a.txt.gz", broken)
        with pytest.raises(UnreadableFileError, match=r"a\.jsonl\.gz is no whole gzip file"):
            read("a.jsonl.gz", broken)


def test_json_line_without_the_field_is_named():
    with pytest.raises(UnreadableFileError, match=r"line 2 has no text in field 'text'.*body"):
        read("a.jsonl", b'{"text": "x"}\n{"body": "y"}\n')
    with pytest.raises(UnreadableFileError, match="has no text in field"):
        read("a.jsonl", b'{"text": 3}\n')
    with pytest.raises(UnreadableFileError, match="line 1 is no JSON"):
        read("a.jsonl", b"plain\n")


PACKAGES = {"kind": "debian_packages", "name": "p", "language": "de", "packages": ["x"]}
FILES = {"kind": "files", "name": "f", "paths": ["a.txt"]}


def test_when_a_corpus_looks_again():
    assert CorpusConfig.model_validate({"sources": [PACKAGES]}).looks_again == "if_missing"
    assert CorpusConfig.model_validate({"sources": [PACKAGES, FILES]}).looks_again == "always"
    asked = CorpusConfig.model_validate({"sources": [FILES], "refresh": "never"})
    assert asked.looks_again == "never"


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ([FILES, FILES], "stand twice"),
        ([FILES | {"heldout_only": True}], "give both or neither"),
        ([FILES | {"suite": "general"}], "give both or neither"),
        ([FILES | {"heldout_only": True, "suite": "heldout"}], "not named 'heldout'"),
        ([FILES | {"heldout_only": True, "suite": "general"}], "every source is heldout_only"),
        ([PACKAGES | {"packages": []}], "name at least one package"),
        ([FILES | {"language": "de"}], "Extra inputs are not permitted"),
        ([FILES | {"format": "docx"}], "format"),
        ([], "at least 1"),
    ],
)
def test_config_says_what_is_wrong(sources: list[dict[str, object]], said: str):
    with pytest.raises(ValidationError, match=said):
        CorpusConfig.model_validate({"sources": sources})
