"""Records of a ``fortune`` file: quotations with a ``%`` line between them."""

from collections.abc import Iterator

_WRAPPED_LINE = 50
"""A line at least so long was broken for the terminal; a shorter one ends by itself, like verse."""


def fortunes(text: str) -> Iterator[str]:
    """Yield each record with the terminal's line breaks taken out of its prose.

    Args:
        text: the whole file.
    """
    for record in text.split("\n%\n"):
        lines: list[str] = []
        goes_on = False
        for raw in record.split("\n"):
            line = raw.strip()
            begins_anew = raw[:1] in ("\t", " ") or line.startswith(("-- ", "- ", "* "))
            if goes_on and line and not begins_anew:
                lines[-1] += f" {line}"
            elif line:
                lines.append(line)
            goes_on = len(line) >= _WRAPPED_LINE
        yield "".join(f"{' '.join(line.split())}\n" for line in lines)
