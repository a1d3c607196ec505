"""Small JSON records of the store: pointers and manifests."""

import json
from typing import Any

from infra.errors import CorruptFileError
from infra.object_store import ObjectStore


def read_json(store: ObjectStore, path: str) -> dict[str, Any]:
    """Read one record.

    Raises:
        CorruptFileError: it is no JSON object.
    """
    try:
        record: Any = json.loads(store.read(path))
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
