"""The run files that a person may choose from in Prefect, and the changes a form allows."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from flows.run_config import RunConfigError, read_values

Kind = Literal["run", "comparison"]
SCHEDULES = "schedules.yaml"
"""Stands beside the run files and is none."""

_FIRST_KEYS: dict[Kind, str] = {"run": "tokenizer", "comparison": "tokenizers"}
_SIZE_FIELDS = {"extend": "n_new_tokens"}


def run_files(folder: Path, kind: Kind) -> list[str]:
    """Names of the files in a folder that hold a whole run, or a comparison.

    They are told apart by a look at their keys; whether one is right is found when it is run.
    """
    key = re.compile(rf"^{_FIRST_KEYS[kind]}:", re.MULTILINE)
    return sorted(
        file.name
        for file in folder.glob("*.yaml")
        if file.name != SCHEDULES and key.search(file.read_text("utf-8", errors="replace"))
    )


def read_run_file(folder: Path, kind: Kind, name: str) -> dict[str, Any]:
    """Read a file that a form names.

    Raises:
        RunConfigError: it is none of those in the folder, or no YAML.
    """
    if name not in (known := run_files(folder, kind)):
        offered = ", ".join(known) or "no file of this kind"
        raise RunConfigError(f"no {kind} named {name} in {folder}, which holds {offered}.")
    return read_values(folder / name)


def with_changes(
    values: Mapping[str, Any],
    *,
    target_bytes: int | None = None,
    tokenizer: str | None = None,
    vocabulary_size: int | None = None,
    initialiser: str | None = None,
    refresh: bool = False,
) -> dict[str, Any]:
    """The same run with the changes that a form allows; they are checked with the rest of it.

    Args:
        values: as a run file holds them.
        target_bytes: text to keep for training.
        tokenizer: method; another than the run's brings its own defaults.
        vocabulary_size: size of the new vocabulary; with ``extend``, how many tokens are added.
        initialiser: method; another than the run's brings its own defaults.
        refresh: look again at every source of text, packages too.
    """
    changed = {**values}
    if refresh and "source_corpus" in values:
        changed["source_corpus"] = {**_mapping(values, "source_corpus"), "refresh": "always"}
    corpus: dict[str, Any] = {}
    if target_bytes is not None:
        corpus["budget_bytes"] = target_bytes
    if refresh:
        corpus["refresh"] = "always"
    if corpus:
        changed["corpus"] = {**_mapping(values, "corpus"), **corpus}
    if tokenizer is not None:
        changed["tokenizer"] = _of_method(_mapping(values, "tokenizer"), tokenizer)
    if vocabulary_size is not None:
        old = _mapping(changed, "tokenizer")
        size = _SIZE_FIELDS.get(str(old.get("method")), "vocabulary_size")
        changed["tokenizer"] = {**old, size: vocabulary_size}
    if initialiser is not None:
        embedding = _mapping(values, "embedding")
        method = _of_method(_mapping(embedding, "initialiser"), initialiser)
        changed["embedding"] = {**embedding, "initialiser": method}
    return changed


def _of_method(old: Mapping[str, Any], method: str) -> dict[str, Any]:
    """Fields of one method mean nothing to another."""
    return {**old} if old.get("method") == method else {"method": method}


def _mapping(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The mapping that stands there, if one does."""
    found = values.get(key)
    return found if isinstance(found, dict) else {}
