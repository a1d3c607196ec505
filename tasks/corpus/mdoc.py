# ruff: noqa: RUF001  (the characters that look alike are the data here)
"""Plain text of a manual page written with the BSD ``mdoc`` macros."""

import re
from collections.abc import Iterator

from tasks.corpus.mdoc_inline import InlineRenderer
from tasks.corpus.roff_source import RoffSource, split_arguments, split_request
from tasks.corpus.text_blocks import TextBlocks

_PROLOGUE = frozenset({"Dd", "Dt", "Os", "Sm", "Bk", "Ek", "Rs", "Re", "Bf", "Ef", "ns", "ne"})
_PLAIN_REQUESTS = re.compile(r"[a-z]{2}\d?")
_BULLET_LISTS = frozenset({"-bullet", "-dash", "-hyphen", "-item"})


class MdocPage:
    """One pass over a page."""

    def __init__(self, source: RoffSource) -> None:
        self._source = source
        self._lines: Iterator[str] = iter(source)
        self._blocks = TextBlocks()
        self._inline = InlineRenderer()
        self._in_code = False
        self._lists: list[str] = []

    def convert(self) -> str:
        """The page as lines of plain text, each ended by a newline."""
        for line in self._lines:
            name, rest = split_request(line)
            if name:
                self._macro(name, [self._source.text(a) for a in split_arguments(rest)])
            elif self._in_code:
                self._blocks.add_line(self._source.text(line))
            else:
                if not line.strip():
                    self._blocks.end()
                self._blocks.add(self._source.text(line))
        return self._blocks.finish()

    def _macro(self, name: str, arguments: list[str]) -> None:
        if name in ("Sh", "Ss"):
            self._in_code = False
            self._line_of_its_own(self._inline.render(arguments))
        elif name in ("Pp", "Lp", "El", "sp", "br"):
            self._blocks.end()
            if name == "El" and self._lists:
                self._lists.pop()
        elif name == "Bl":
            self._blocks.end()
            self._lists.append(next((a for a in arguments if a.startswith("-")), ""))
        elif name == "It":
            self._item(arguments)
        elif name in ("Bd", "Ed"):
            self._blocks.end()
            self._in_code = name == "Bd" and bool({"-literal", "-unfilled"} & set(arguments))
        elif name in ("Dl", "D1"):
            self._line_of_its_own(self._inline.render(arguments))
        elif name == "Nd":
            self._blocks.add("– " + " ".join(arguments))
            self._blocks.end()
        elif name not in _PROLOGUE and not _PLAIN_REQUESTS.fullmatch(name):
            self._say(self._inline.render([name, *arguments]))

    def _say(self, text: str) -> None:
        if self._in_code:
            self._blocks.add_line(text)
        else:
            self._blocks.add(text)

    def _line_of_its_own(self, text: str) -> None:
        self._blocks.end()
        self._blocks.add(text)
        self._blocks.end()

    def _item(self, arguments: list[str]) -> None:
        if self._lists and self._lists[-1] in _BULLET_LISTS:
            self._blocks.mark("•")
            self._say(self._inline.render(arguments))
        else:
            self._line_of_its_own(self._inline.render(arguments))
