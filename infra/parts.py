"""Finished shards of a stage at work, kept so that a killed run does not do them again.

They lie where training keeps its checkpoints, beside the attempts, and go the same way: once the
stage's artifact stands, ``gc`` removes them.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infra.errors import MissingFileError
from infra.keys import file_sha256
from infra.object_store import ObjectStore
from infra.records import read_json


class Parts:
    """The finished shards of one key and generation.

    Args:
        store: where they lie.
        path: their folder in the store (``Attempt.checkpoints_path``).
    """

    def __init__(self, store: ObjectStore, path: str) -> None:
        self._store = store
        self._path = path

    def keep(self, name: str, files: Sequence[Path], record: dict[str, Any]) -> None:
        """Store a shard's files, then the record that makes them stand.

        Args:
            name: of the shard, the same in every run.
            files: what the shard made.
            record: JSON values to give back with them.
        """
        for file in files:
            self._store.upload(file, f"{self._path}/{name}/{file.name}")
        hashes = {file.name: file_sha256(file) for file in files}
        entry = json.dumps({"files": hashes, "record": record}).encode()
        self._store.write(f"{self._path}/{name}.json", entry)

    def take(self, name: str, folder: Path) -> dict[str, Any] | None:
        """Copy a finished shard's files into a folder; returns its record.

        ``None`` where it is not finished, or a file is not what was stored: the shard is then to
        be done again.
        """
        try:
            entry = read_json(self._store, f"{self._path}/{name}.json")
        except MissingFileError:
            return None
        for file, sha256 in entry["files"].items():
            stored = f"{self._path}/{name}/{file}"
            try:
                self._store.download(stored, folder / file)
            except MissingFileError:
                return None
            if file_sha256(folder / file) != sha256:
                return None
        return entry["record"]
