"""Rows of a ``tbl`` table as lines of text."""

import re
from collections.abc import Iterable, Iterator

_TAB_OPTION = re.compile(r"tab\s*\((.)\)")
_LONG_CELL = 60
"""Characters from which on a cell is a paragraph of its own."""


def table_lines(raw: Iterable[str]) -> Iterator[str]:
    """Yield one line a row, or one a cell where cells hold whole paragraphs.

    Args:
        raw: what stands between ``.TS`` and ``.TE``, escapes unresolved.
    """
    lines = iter(raw)
    separator = "\t"
    in_format = True
    row = ""
    block: list[str] | None = None
    for line in lines:
        if in_format:
            if line.rstrip().endswith(";"):
                option = _TAB_OPTION.search(line)
                separator = option[1] if option else separator
            in_format = not line.rstrip().endswith(".")
        elif line.startswith(".T&"):
            in_format = True
        elif block is not None:
            if line.startswith("T}"):
                row += " ".join(block) + line[2:]
                block = None
                if row.endswith("T{"):
                    row, block = row[:-2], []
                else:
                    yield from _row(row, separator)
                    row = ""
            elif not line.startswith((".", "'")):
                block.append(line)
            elif words := line.split(maxsplit=1)[1:]:
                block += words if line.startswith((".B", ".I")) else []
        elif line.endswith("T{"):
            row, block = line[:-2], []
        elif not line.startswith((".", "'")) and line.strip() not in ("_", "=", ""):
            yield from _row(line, separator)


def _row(row: str, separator: str) -> Iterator[str]:
    cells = [" ".join(cell.split()) for cell in row.split(separator)]
    cells = [cell for cell in cells if cell and not re.fullmatch(r"\\?[_^=]", cell)]
    if any(len(cell) > _LONG_CELL for cell in cells):
        yield from cells
    elif cells:
        yield "  ".join(cells)
