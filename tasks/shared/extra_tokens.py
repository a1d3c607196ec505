"""Special tokens that a tokenizer got on top of its vocabulary, and what each is for."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tasks.shared.vocabulary_file import read_json

FILE = "extra_tokens.json"


@dataclass(frozen=True)
class ToolToken:
    """A special token by which a model calls a tool.

    Attributes:
        name: its text, such as ``<|search|>``.
        description: what the tool does, for the stage that gives the token its rows.
    """

    name: str
    description: str


@dataclass(frozen=True)
class ExtraTokens:
    """Tokens of a tokenizer that no text of a corpus holds.

    Attributes:
        tools: by id.
        reserved: ids that no text has until someone gives them a meaning.
    """

    tools: Mapping[int, ToolToken] = field(default_factory=dict)
    reserved: Sequence[int] = ()

    def __len__(self) -> int:
        """Count the tokens."""
        return len(self.tools) + len(self.reserved)


def write_extra_tokens(folder: Path, extra: ExtraTokens) -> None:
    """Write ``extra_tokens.json`` (``tools``: id, name, description; ``reserved``: ids), if any."""
    if not len(extra):
        return
    tools = [{"id": token_id, **asdict(tool)} for token_id, tool in extra.tools.items()]
    record = {"tools": tools, "reserved": list(extra.reserved)}
    text = json.dumps(record, ensure_ascii=False, indent=1)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


def read_extra_tokens(folder: Path) -> ExtraTokens:
    """Read what ``write_extra_tokens`` wrote; nothing where there is no file."""
    if not (folder / FILE).exists():
        return ExtraTokens()
    record = read_json(folder / FILE)
    tools = {tool["id"]: ToolToken(tool["name"], tool["description"]) for tool in record["tools"]}
    return ExtraTokens(tools, record["reserved"])
