"""Lines of a roff page with its programming taken out: conditions, definitions, comments.

A page is read as ``nroff`` on a terminal would: ``.if n`` holds, ``.if t`` does not, and a page
that asks whether it is groff gets a yes.
"""

import re
from collections.abc import Iterator

from tasks.corpus.roff_escapes import resolve_escapes, strip_comment

_REQUEST = re.compile(r"^[.']\s*([^\s\\\"]+|\\\})?\s*(.*)$", re.DOTALL)
_ARGUMENT = re.compile(r'"((?:[^"]|"")*)"?|((?:\\.|[^\s\\])+|\\$)')
_CONDITION = re.compile(
    r"(!?)\s*(\([^)]*\)|'[^']*'[^']*'|\\\S+|\S+?(?=\\\{)|\S+)\s*(.*)$", re.DOTALL
)
_DEFINITIONS = frozenset({"de", "de1", "am", "am1", "ig", "dei", "ami"})


class RoffSource:
    """Flat lines of one page, and the strings it has defined so far."""

    def __init__(self, text: str) -> None:
        self.strings: dict[str, str] = {}
        self._lines = _whole_lines(text)
        self._otherwise: list[bool] = []

    def __iter__(self) -> Iterator[str]:
        """Yield text lines and macro lines, in order."""
        for line in self._lines:
            yield from self._expand(line)

    def text(self, raw: str) -> str:
        """Characters of a raw line or argument."""
        return resolve_escapes(raw, self.strings)

    def _expand(self, line: str) -> Iterator[str]:
        name, rest = split_request(line)
        if name in _DEFINITIONS:
            self._skip_definition(rest)
        elif name in ("ds", "ds1", "as"):
            key, _, value = rest.partition(" ")
            self.strings[key] = value.lstrip().removeprefix('"')
        elif name in ("if", "ie"):
            condition = _CONDITION.match(rest)
            holds = condition is not None and _holds(condition)
            if name == "ie":
                self._otherwise.append(not holds)
            yield from self._branch(condition[3] if condition else "", holds)
        elif name == "el":
            yield from self._branch(rest, self._otherwise.pop() if self._otherwise else False)
        else:
            yield line

    def _branch(self, rest: str, holds: bool) -> Iterator[str]:
        if holds:
            rest = rest.removeprefix("\\{").strip()
            if rest and rest != "\\":
                yield from self._expand(rest)
            return
        depth = rest.count("\\{") - rest.count("\\}")
        while depth > 0 and (line := next(self._lines, None)) is not None:
            depth += line.count("\\{") - line.count("\\}")

    def _skip_definition(self, rest: str) -> None:
        arguments = rest.split()
        end = arguments[1] if len(arguments) > 1 else "."
        for line in self._lines:
            if re.fullmatch(rf"[.']\s*{re.escape(end)}\s*", line):
                return


def split_request(line: str) -> tuple[str, str]:
    """Name and the raw rest of a macro line; an empty name for a text line."""
    if line[:1] not in (".", "'"):
        return "", line
    match = _REQUEST.match(line)
    return (match[1] or "\\", match[2]) if match else ("\\", "")


def split_arguments(rest: str) -> list[str]:
    """Raw arguments: quoted ones may hold spaces, and an escaped space does not part words."""
    return [
        quoted.replace('""', '"') if bare == "" else bare
        for quoted, bare in _ARGUMENT.findall(rest)
    ]


def _whole_lines(text: str) -> Iterator[str]:
    """Lines without comments; one that ends in a backslash goes on with the next."""
    held = ""
    for raw in text.split("\n"):
        line = strip_comment(raw)
        if line != raw and not line.strip(" .'\t"):
            continue
        line = held + line
        if line.endswith("\\") and not line.endswith("\\\\") and not line.endswith("{\\"):
            held = line[:-1]
            continue
        held = ""
        yield line


def _holds(condition: re.Match[str]) -> bool:
    asked = condition[2]
    answer = asked == "n" or ".g" in asked or asked == "o"
    return answer != bool(condition[1])
