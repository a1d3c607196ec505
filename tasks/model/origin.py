"""Where a model comes from and under which terms: ``origin.json`` beside its weights."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from tasks.model.tokenizer_files import write_json

ORIGIN_FILE = "origin.json"
_NAMES_SHOWN = 12


class Origin(BaseModel):
    """Provenance of the weights, shown in reports and carried to every export."""

    model_config = ConfigDict(frozen=True, extra="allow")

    origin: str
    """For people: package, repository or file name with the head of its sha256, never a place."""
    licence: str | None
    """As the source states it; None where it states nothing."""
    format: str
    architecture: str
    dequantised: bool
    """Whether they were unpacked from quantised blocks: part of any later gain repairs that."""
    quantisation: str | None


def write_origin(folder: Path, origin: Origin, **more: Any) -> None:
    """Write ``origin.json``, with what later stages add to it."""
    write_json(folder / ORIGIN_FILE, {**origin.model_dump(), **more})


def read_origin(folder: Path) -> Origin:
    """Read ``origin.json`` of an imported model."""
    return Origin.model_validate_json((folder / ORIGIN_FILE).read_text(encoding="utf-8"))


def short_name(source: str, sha256: str) -> str:
    """A file for people: its name and the head of its hash."""
    return f"{source} (sha256 {sha256[:_NAMES_SHOWN]})"
