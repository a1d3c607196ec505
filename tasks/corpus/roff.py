# ruff: noqa: RUF001  (the characters that look alike are the data here)
"""Plain text of a manual page written with the ``man`` macros or with ``mdoc``.

Paragraphs are joined to one line each, headings and list tags are lines of their own, code keeps
its lines. What only steers a printer is dropped. Own code and not ``groff``: it is not on every
machine, its line breaking depends on the terminal, and 1,300 pages take a second this way.
"""

import re

from tasks.corpus.mdoc import MdocPage
from tasks.corpus.roff_source import RoffSource, split_arguments, split_request
from tasks.corpus.roff_tables import table_lines
from tasks.corpus.text_blocks import TextBlocks

_BREAK_NAMES = "PP P LP RS RE sp br in ti Sp bp HP YS ce EE fi Ve UNINDENT INDENT"
_BREAKS = frozenset(_BREAK_NAMES.split())
_CODE_BEGINS = frozenset({"nf", "EX", "Vb"})
_CODE_ENDS = frozenset({"fi", "EE", "Ve"})
_FONTS = frozenset({"B", "I", "SM", "SB", "R", "CW"})
_TWO_FONTS = frozenset({"BR", "RB", "BI", "IB", "IR", "RI"})
_BULLETS = frozenset({"•", "·", "*", "o", "-", "–", "+"})
_MDOC = re.compile(r"^\.\s*(Dd|Dt|Sh)\b", re.MULTILINE)


def page_text(source: str) -> str:
    """The page as lines of plain text, each ended by a newline; empty for a mere alias page."""
    if _MDOC.search(source):
        return MdocPage(RoffSource(source)).convert()
    return _ManPage(RoffSource(source)).convert()


class _ManPage:
    """One pass over a page, and what the lines read so far ask of the next one."""

    def __init__(self, source: RoffSource) -> None:
        self._source = source
        self._lines = iter(source)
        self._blocks = TextBlocks()
        self._in_code = False
        self._awaited = ""
        """What the next text is: ``tag`` of a list item, ``heading``, or nothing special."""
        self._link = ""

    def convert(self) -> str:
        for line in self._lines:
            name, rest = split_request(line)
            if name:
                self._macro(name, rest)
            else:
                self._text(line)
        return self._blocks.finish()

    def _text(self, line: str) -> None:
        if self._in_code:
            self._blocks.add_line(self._source.text(line).rstrip())
            return
        if not line.strip() or line[0] in " \t":
            self._blocks.end()
        self._say(self._source.text(line), glue_next=line.endswith("\\c"))

    def _say(self, text: str, *, glue_next: bool = False) -> None:
        if self._in_code:
            self._blocks.add_line(text)
            return
        self._blocks.add(text, glue_next=glue_next)
        if self._awaited and not glue_next and not self._blocks.is_empty:
            self._blocks.end()
            self._awaited = ""

    def _macro(self, name: str, rest: str) -> None:
        if name in ("TH", "TS"):
            self._blocks.end()
            if name == "TS":
                self._table()
        elif name in ("SH", "SS"):
            self._block(self._words(rest), awaited="heading")
        elif name in ("TP", "TQ"):
            self._block([], awaited="tag")
        elif name == "IP":
            self._item(self._words(rest)[:1])
        elif name in _FONTS:
            self._say(" ".join(self._words(rest)), glue_next=rest.endswith("\\c"))
        elif name in _TWO_FONTS:
            self._say("".join(self._words(rest)), glue_next=rest.endswith("\\c"))
        elif name in ("UR", "MT", "UE", "ME", "URL", "MTO"):
            self._links(name, self._words(rest))
        elif name == "OP":
            self._say(f"[{' '.join(self._words(rest))}]")
        elif name == "SY":
            self._block(self._words(rest), awaited="")
        elif name == "q":
            self._say(f"“{' '.join(self._words(rest))}”")
        elif name in _BREAKS or name in _CODE_BEGINS:
            self._blocks.end()
            self._in_code = (self._in_code or name in _CODE_BEGINS) and name not in _CODE_ENDS

    def _words(self, rest: str) -> list[str]:
        return [self._source.text(word) for word in split_arguments(rest)]

    def _block(self, words: list[str], awaited: str) -> None:
        self._blocks.end()
        self._in_code = False
        self._awaited = awaited
        if words:
            self._say(" ".join(words))

    def _item(self, tag: list[str]) -> None:
        self._block([], awaited="")
        if tag and (tag[0] in _BULLETS or re.fullmatch(r"[(\[]?\w{1,2}[.)\]]", tag[0])):
            self._blocks.mark("•" if tag[0] in _BULLETS else tag[0])
        elif tag:
            self._blocks.add(tag[0])
            self._blocks.end()

    def _links(self, name: str, words: list[str]) -> None:
        """Show the address after its text, as a terminal does."""
        if name in ("UR", "MT"):
            self._link = words[0].removeprefix("mailto:") if words else ""
        elif name in ("UE", "ME"):
            address, self._link = self._link, ""
            self._say(f"<{address}>{''.join(words)}")
        elif words:
            address, label, after = (*words, "", "")[:3]
            self._say(f"{label} <{address}>{after}")

    def _table(self) -> None:
        raw: list[str] = []
        for line in self._lines:
            if split_request(line)[0] == "TE":
                break
            raw.append(line)
        for line in table_lines(raw):
            self._blocks.add_line(self._source.text(line))
