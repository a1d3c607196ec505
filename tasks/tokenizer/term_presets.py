"""Lists of terms made by rule: years, numbers, enumerations, white space, and marks of formats.

The kinds are those of the custom tokens of KL3M, Bommarito et al. 2025 (arXiv 2503.17247).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Literal

LeadingSpace = Literal["both", "bare", "space"]
PresetName = Literal["years", "numbers", "enumerations", "whitespace", "markdown", "html", "json"]


@dataclass(frozen=True)
class Term:
    """A text that must be one token.

    Attributes:
        text: as it is written.
        type: its kind, such as ``drug``; empty for none.
    """

    text: str
    type: str = ""


_RUNS = range(2, 9)
_ROMANS = ("ii", "iii", "iv", "v", "vi", "vii", "viii", "ix")
_RULES = ".-=_*~"
_HTML_TAGS = (
    *("html", "head", "body", "title", "meta", "link", "script", "style", "div", "span", "p", "a"),
    *("br", "hr", "img", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "table", "thead"),
    *("tbody", "tr", "th", "td", "b", "i", "em", "strong", "sup", "sub", "pre", "code", "form"),
    *("input", "button", "section", "article", "header", "footer", "nav", "main"),
)
_HTML_WITHOUT_END = frozenset({"meta", "link", "br", "hr", "img", "input"})
_HTML_ATTRIBUTES = ("href", "src", "class", "id", "style", "name", "type", "value", "title", "alt")


def preset(name: PresetName) -> list[Term]:
    """The terms of one kind, each once, with the preset's name as their type."""
    return [Term(text, name) for text in dict.fromkeys(_PRESETS[name]())]


def spell(term: Term, leading_space: LeadingSpace) -> list[bytes]:
    """The tokens that a term asks for.

    Args:
        term: one that begins with white space is taken as it is.
        leading_space: most tokenizers give a word inside a sentence the space in front of it.
            ``space`` asks for that form, ``bare`` for the one without, ``both`` for two tokens.
    """
    bare = term.text.encode()
    if term.text[:1].isspace() or leading_space == "bare":
        return [bare]
    return [b" " + bare] if leading_space == "space" else [bare, b" " + bare]


def _years() -> Iterable[str]:
    return map(str, range(1776, 2050))


def _numbers() -> Iterable[str]:
    return map(str, range(10, 1000))


def _enumerations() -> Iterable[str]:
    marks = [*ascii_lowercase, *ascii_lowercase.upper(), *map(str, range(1, 100)), *_ROMANS]
    return (f"({mark})" for mark in marks)


def _whitespace() -> Iterable[str]:
    yield from (space * n for space in " \t\n" for n in _RUNS)
    yield from ("\r\n", "\r\n\r\n", "\t ")


def _markdown() -> Iterable[str]:
    yield from ("#" * n for n in range(2, 7))
    yield from (rule * n for rule in _RULES for n in _RUNS)
    yield from ("```", "![", "](", "[](", "- [ ]", "- [x]", "http://", "https://", "mailto:")


def _html() -> Iterable[str]:
    yield from (f"<{tag}" for tag in _HTML_TAGS)
    yield from (f"<{tag}>" for tag in _HTML_TAGS)
    yield from (f"</{tag}>" for tag in _HTML_TAGS if tag not in _HTML_WITHOUT_END)
    yield from (f' {attribute}="' for attribute in _HTML_ATTRIBUTES)
    yield from ("<!--", "-->", "<!DOCTYPE", "/>", '">', "&nbsp;", "&amp;", "&lt;", "&gt;", "&quot;")


def _json() -> Iterable[str]:
    yield from ('{"', '"}', '":', '": ', '": "', '":"', '",', '", "', '","', "},", "],")
    yield from ('["', '"]', "[{", "}]", "},{", "null", "true", "false", "{}", "[]", '""')


_PRESETS: dict[PresetName, Callable[[], Iterable[str]]] = {
    "years": _years,
    "numbers": _numbers,
    "enumerations": _enumerations,
    "whitespace": _whitespace,
    "markdown": _markdown,
    "html": _html,
    "json": _json,
}
