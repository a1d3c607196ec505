"""Remove what no pointer leads to.

Kept: every attempt that a pointer names or a live run holds, every attempt whose digest a kept
manifest names as an input, checkpoints of keys without a finished artifact or with a live run at
work, and everything younger than a grace period.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from infra.live_runs import ended_runs, held_attempts
from infra.manifests import MANIFEST
from infra.object_store import ObjectStore, StoredFile, UnfinishedUpload
from infra.records import read_json_of_all


@dataclass(frozen=True)
class Garbage:
    """One removable folder, or an upload that never became a file."""

    path: str
    n_bytes: int
    why: str
    upload: UnfinishedUpload | None = None


def find_garbage(store: ObjectStore, grace_hours: float) -> list[Garbage]:
    """What ``gc`` would remove, without removing it."""
    folders: dict[str, list[StoredFile]] = {}
    pointers: list[str] = []
    youngest = time.time() - grace_hours * 3600
    for file in store.files():
        parts = PurePosixPath(file.path).parts
        if len(parts) == 3 and parts[2].startswith("current-"):
            pointers.append(file.path)
        elif len(parts) >= 4:
            depth = 4 if parts[2] == "checkpoints" else 3
            folders.setdefault("/".join(parts[:depth]), []).append(file)
    # Only now: a run says what it holds before it writes or reads what the listing found.
    held = held_attempts(store)
    kept = _reachable(store, folders, pointers, held)
    at_work = {path.rpartition("/")[0] for path in held}
    finished = {pointer.rpartition("/current-")[0::2] for pointer in pointers}
    found = [
        Garbage(path, sum(f.n_bytes for f in files), why)
        for path, files in sorted(folders.items())
        if path not in kept
        and path.partition("/checkpoints/")[0] not in at_work
        and max(f.modified_seconds for f in files) <= youngest
        and (why := _why(path, files, finished))
    ]
    return [*found, *_left_by_killed_runs(store, at_work, youngest)]


def remove_garbage(store: ObjectStore, garbage: list[Garbage]) -> None:
    """Remove each folder, its manifest first, so that no half of it passes for an artifact."""
    for item in garbage:
        if item.upload is not None:
            store.abort_upload(item.upload)
            continue
        store.delete_file(f"{item.path}/{MANIFEST}")
        store.delete(item.path)


def _left_by_killed_runs(
    store: ObjectStore, at_work: set[str], youngest: float
) -> Iterator[Garbage]:
    for path in sorted(ended_runs(store)):
        for record in store.files(path):
            if record.modified_seconds <= youngest:
                yield Garbage(path, record.n_bytes, "its run is gone")
    for upload in store.unfinished_uploads():
        key_folder = "/".join(PurePosixPath(upload.path).parts[:2])
        if upload.begun_seconds <= youngest and key_folder not in at_work:
            yield Garbage(upload.path, 0, "upload never finished", upload)


def _why(path: str, files: list[StoredFile], finished: set[tuple[str, ...]]) -> str | None:
    parts = PurePosixPath(path).parts
    if parts[2] == "checkpoints":
        key_folder = "/".join(parts[:2])
        return "training finished" if (key_folder, f"{parts[3]}.json") in finished else None
    whole = any(file.path == f"{path}/{MANIFEST}" for file in files)
    return "superseded" if whole else "never finished"


def _reachable(
    store: ObjectStore,
    folders: dict[str, list[StoredFile]],
    pointers: list[str],
    held: set[str],
) -> set[str]:
    attempts = read_json_of_all(store, pointers)
    waiting = {
        f"{pointer.rpartition('/')[0]}/{record['attempt']}"
        for pointer, record in zip(pointers, attempts, strict=True)
    } | held
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
