"""Small JSON records of the store: pointers and manifests."""

import json
from collections.abc import Sequence
from typing import Any

from infra.errors import CorruptFileError
from infra.object_store import ObjectStore


def read_json(store: ObjectStore, path: str) -> dict[str, Any]:
    """Read one record.

    Raises:
        CorruptFileError: it is no JSON object.
    """
    return parse_record(store, path, store.read(path))


def read_json_of_all(store: ObjectStore, paths: Sequence[str]) -> list[dict[str, Any]]:
    """Read many records, in the order of ``paths``.

    Raises:
        CorruptFileError: one is no JSON object.
    """
    texts = store.read_all(paths)
    return [parse_record(store, path, text) for path, text in zip(paths, texts, strict=True)]


def parse_record(store: ObjectStore, path: str, text: bytes) -> dict[str, Any]:
    """A record from what was read at ``path``.

    Raises:
        CorruptFileError: it is no JSON object.
    """
    try:
        record: Any = json.loads(text)
    except ValueError as error:
        raise damaged_record(store, path, str(error)) from error
    if not isinstance(record, dict):
        raise damaged_record(store, path, "it is no JSON object")
    return record


def damaged_record(store: ObjectStore, path: str, why: str) -> CorruptFileError:
    """The error for a record that does not say what was written."""
    return CorruptFileError(
        f"{store.uri(path)} is damaged ({why}); delete this file and run again, its stage then "
        "runs anew."
    )
