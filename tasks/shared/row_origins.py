"""How the embedding stage names the origin of rows, for stages that read its lineage."""

from typing import Final

OLD_ROW_METHODS: Final = ("copied", "special_role", "special_text")
"""The token has a row of the source model, as it is."""
TOOL_ROW_METHOD: Final = "tool_text"
"""The row started from the words that say what a tool is for."""
_FITTED = "fitted to text: "
_JOIN = "; "


def with_fit(note: str, how: str) -> str:
    """The note of a row that was made and then fitted."""
    return f"{note}{_JOIN}{_FITTED}{how}" if note else f"{_FITTED}{how}"


def without_fit(note: str) -> str:
    """What the note said before the fit."""
    return note.partition(_FITTED)[0].removesuffix(_JOIN)


def is_fitted(note: str) -> bool:
    """Whether the row was."""
    return _FITTED in note
