# ruff: noqa: RUF001  (the characters that look alike are the data here)
"""Package descriptions in a ``Translation-XX`` file of APT: one document a package."""

from collections.abc import Iterator

_BULLETS = ("* ", "- ", "+ ", "• ", "o ", "– ")


def package_descriptions(text: str, language: str) -> Iterator[str]:
    """Yield each package's description: its short form, then one line a paragraph or list item.

    Args:
        text: the whole file.
        language: as in the field name ``Description-de``.
    """
    field = f"Description-{language}:"
    for stanza in text.split("\n\n"):
        description: list[str] | None = None
        for line in stanza.split("\n"):
            if line.startswith(field):
                description = [line[len(field) :].strip()]
            elif not line.startswith(" "):
                if description is not None:
                    break
            elif description is not None:
                description.append(line)
        if description:
            yield _document(description)


def _document(description: list[str]) -> str:
    lines = [description[0]]
    open_block = False
    for raw in description[1:]:
        text = raw.strip()
        if text in (".", ""):
            open_block = False
            continue
        begins_item = text.startswith(_BULLETS)
        indented = raw.startswith("  ")
        if open_block and not begins_item and (not indented or lines[-1].startswith(_BULLETS)):
            lines[-1] += f" {text}"
        else:
            lines.append(text)
        open_block = begins_item or not indented
    return "".join(f"{' '.join(line.split())}\n" for line in lines if line)
