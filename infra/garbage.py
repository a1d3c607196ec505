"""Remove what no pointer leads to.

Kept: every attempt that a pointer names, every attempt whose digest a kept manifest names as an
input, checkpoints of keys without a finished artifact, and everything younger than a grace period.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from infra.artifacts import MANIFEST
from infra.object_store import ObjectStore, StoredFile
from infra.records import read_json_of_all


@dataclass(frozen=True)
class Garbage:
    """One removable folder."""

    path: str
    n_bytes: int
    why: str


def find_garbage(store: ObjectStore, grace_hours: float) -> list[Garbage]:
    """What ``gc`` would remove, without removing it."""
    folders: dict[str, list[StoredFile]] = {}
    pointers: list[str] = []
    for file in store.files():
        parts = PurePosixPath(file.path).parts
        if len(parts) == 3 and parts[2].startswith("current-"):
            pointers.append(file.path)
        elif len(parts) >= 4:
            depth = 4 if parts[2] == "checkpoints" else 3
            folders.setdefault("/".join(parts[:depth]), []).append(file)
    kept = _reachable(store, folders, pointers)
    finished = {pointer.rpartition("/current-")[0::2] for pointer in pointers}
    youngest = time.time() - grace_hours * 3600
    return [
        Garbage(path, sum(f.n_bytes for f in files), why)
        for path, files in sorted(folders.items())
        if path not in kept
        and max(f.modified_seconds for f in files) <= youngest
        and (why := _why(path, files, finished))
    ]


def remove_garbage(store: ObjectStore, garbage: list[Garbage]) -> None:
    """Remove each folder, its manifest first, so that no half of it passes for an artifact."""
    for item in garbage:
        store.delete(f"{item.path}/{MANIFEST}")
        store.delete(item.path)


def _why(path: str, files: list[StoredFile], finished: set[tuple[str, ...]]) -> str | None:
    parts = PurePosixPath(path).parts
    if parts[2] == "checkpoints":
        key_folder = "/".join(parts[:2])
        return "training finished" if (key_folder, f"{parts[3]}.json") in finished else None
    whole = any(file.path == f"{path}/{MANIFEST}" for file in files)
    return "superseded" if whole else "never finished"


def _reachable(
    store: ObjectStore, folders: dict[str, list[StoredFile]], pointers: list[str]
) -> set[str]:
    attempts = read_json_of_all(store, pointers)
    waiting = {
        f"{pointer.rpartition('/')[0]}/{record['attempt']}"
        for pointer, record in zip(pointers, attempts, strict=True)
    }
    kept: set[str] = set()
    while waiting:
        kept |= waiting & folders.keys()
        manifests = [
            f"{path}/{MANIFEST}"
            for path in sorted(waiting)
            if any(file.path == f"{path}/{MANIFEST}" for file in folders.get(path, ()))
        ]
        found = read_json_of_all(store, manifests)
        waiting = {path for manifest in found for path in _inputs(store, manifest)} - kept
    return kept


def _inputs(store: ObjectStore, manifest: dict[str, Any]) -> Iterator[str]:
    for artifact in manifest["inputs"]:
        if artifact["uri"].startswith(f"{store.root}/"):
            yield store.relative(artifact["uri"])
