"""Which files of a model folder are imported, and which kinds of folder cannot be."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tasks.model.tokenizer_files import TOKENIZER_FILES, write_json
from tasks.shared.errors import InputError

WEIGHT_PATTERN = "model*.safetensors"
INDEX_FILE = "model.safetensors.index.json"
IMPORTED_PATTERNS = (
    WEIGHT_PATTERN,
    INDEX_FILE,
    "config.json",
    "generation_config.json",
    "README.md",
    *TOKENIZER_FILES,
)
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack")


class UnsupportedModelFolderError(InputError):
    """A folder holds no model, or one in a form that is not imported."""


def imported_files(names: Iterable[str], place: str) -> list[str]:
    """The files to import among those that stand directly in a folder.

    Args:
        names: bare file names.
        place: the folder, for messages.

    Raises:
        UnsupportedModelFolderError: weights, config or tokenizer are missing, or the weights are
            pickled.
    """
    kept = sorted(n for n in names if any(Path(n).match(glob) for glob in IMPORTED_PATTERNS))
    if not any(Path(name).match(WEIGHT_PATTERN) for name in kept):
        pickled = sorted(name for name in names if name.endswith(_PICKLES))
        found, remedy = "none", "Name the folder of a model in safetensors"
        if pickled:
            found = f"only {', '.join(pickled[:3])}, which may run code when read"
            remedy = "Load the model where you trust it and write it with save_pretrained()"
        raise UnsupportedModelFolderError(
            f"{place} must hold {WEIGHT_PATTERN}; it holds {found}. {remedy}."
        )
    for needed, remedy in (
        ("config.json", "name the folder of a whole model"),
        ("tokenizer.json", "write it with AutoTokenizer.from_pretrained(...).save_pretrained()"),
    ):
        if needed not in kept:
            raise UnsupportedModelFolderError(f"{place} has no {needed}; {remedy}.")
    return kept


def copy_records(source: Path, target: Path) -> None:
    """Copy config and tokenizer files in one normal form.

    Raises:
        UnsupportedModelFolderError: the weights are quantised.
    """
    config = read_record(source / "config.json")
    if "quantization_config" in config:
        method = config["quantization_config"].get("quant_method", "unknown")
        raise UnsupportedModelFolderError(
            f"{source / 'config.json'}: the weights are quantised ({method}); import the model "
            "this one was made from."
        )
    write_json(target / "config.json", config)
    for name in ("generation_config.json", *TOKENIZER_FILES):
        if (source / name).is_file():
            (target / name).write_bytes((source / name).read_bytes())
    _move_chat_template(target)


def _move_chat_template(folder: Path) -> None:
    """Older folders keep the template inside the config; there is one place for it here."""
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        return
    record = read_record(path)
    if isinstance(template := record.get("chat_template"), str):
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
        del record["chat_template"]
        write_json(path, record)


def read_record(path: Path) -> dict[str, Any]:
    """A small JSON record.

    Raises:
        UnsupportedModelFolderError: it is not readable as a JSON object.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UnsupportedModelFolderError(
            f"{path} is no readable JSON ({error}); fetch or write it again."
        ) from error
    if not isinstance(record, dict):
        raise UnsupportedModelFolderError(f"{path} holds no JSON object; fetch it again.")
    return record


def card_licence(folder: Path) -> str | None:
    """The licence in the front matter of a model card."""
    path = folder / "README.md"
    if not path.is_file():
        return None
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    if not lines or lines[0].strip() != "---":
        return None
    for line in lines[1:]:
        if line.strip() == "---":
            return None
        key, _, value = line.partition(":")
        if key == "license" and value.strip():
            return value.strip().strip("\"'")
    return None
