"""How the embedding stage names the origin of rows, for stages that read its lineage."""

from typing import Final

OLD_ROW_METHODS: Final = ("copied", "special_role", "special_text")
"""The token has a row of the source model, as it is."""
TOOL_ROW_METHOD: Final = "tool_text"
"""The row started from the words that say what a tool is for."""
