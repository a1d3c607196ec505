"""Remove what no pointer leads to.

Kept: every attempt that a pointer names or a live run holds, every attempt whose digest a kept
manifest names as an input, checkpoints of keys without a finished artifact or with a live run at
work, everything younger than a grace period, and every file that no run of ours wrote.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from infra.layout import (
    LIVE,
    POINTER,
    folder_of,
    generation_of,
    is_live_record,
    is_manifest,
    is_pointer,
    key_folder,
)
from infra.live_runs import ended_runs, held_attempts
from infra.manifests import MANIFEST
from infra.object_store import ObjectStore, StoredFile, UnfinishedUpload
from infra.parallel import at_once
from infra.records import read_json_of_all


@dataclass(frozen=True)
class Garbage:
    """One removable folder, or an upload that never became a file."""

    path: str
    n_bytes: int
    why: str
    upload: UnfinishedUpload | None = None
    pointers: tuple[str, ...] = ()
    """Those of older generations that name it: they go first."""
    newest_generation: int = 0
    """Of its key when it was found; whoever takes it up since points to it by a later one."""


@dataclass
class Contents:
    """What one listing of a store found."""

    folders: dict[str, list[StoredFile]] = field(default_factory=dict)
    """Files of attempts, and of checkpoints by generation."""
    pointers: list[str] = field(default_factory=list)
    n_foreign_files: int = 0
    """Files of others, which are neither garbage nor kept alive by anything here."""


def contents_of(store: ObjectStore) -> Contents:
    """List a store and tell its own files from those of others."""
    contents = Contents()
    for file in store.files():
        if (folder := folder_of(file.path)) is not None:
            contents.folders.setdefault(folder, []).append(file)
        elif is_pointer(file.path):
            contents.pointers.append(file.path)
        else:
            contents.n_foreign_files += not is_live_record(file.path)
    return contents


def find_garbage(
    store: ObjectStore,
    grace_hours: float,
    keep_generations: int | None = None,
    contents: Contents | None = None,
) -> list[Garbage]:
    """What ``gc`` would remove, without removing it.

    Args:
        store: where to look.
        grace_hours: everything younger is spared.
        keep_generations: how many of each key's newest artifacts stay for being named by a
            pointer; all where there is none.
        contents: a listing that is at hand.
    """
    youngest = time.time() - grace_hours * 3600
    contents = contents or contents_of(store)
    # Only now: a run says what it holds before it writes or reads what the listing found.
    held = held_attempts(store)
    named, dropped = _by_generation(store, contents, keep_generations)
    kept = _reachable(store, contents.folders, named | held)
    at_work = {key_folder(path) for path in held}
    newest = {key_folder(p): generation_of(p) for p in sorted(contents.pointers, key=generation_of)}
    found = [
        Garbage(
            path,
            sum(f.n_bytes for f in files),
            why,
            pointers=dropped.get(path, ()),
            newest_generation=newest.get(key_folder(path), 0),
        )
        for path, files in sorted(contents.folders.items())
        if path not in kept
        and not ("/checkpoints/" in path and key_folder(path) in at_work)
        and max(f.modified_seconds for f in files) <= youngest
        and (why := _why(path, files, newest, dropped))
    ]
    return [*found, *_left_by_killed_runs(store, at_work, youngest)]


def remove_garbage(store: ObjectStore, garbage: list[Garbage]) -> list[Garbage]:
    """Remove each folder; returns those removed: some run may have taken up others meanwhile."""
    done = at_once(partial(_remove, store), garbage)
    return [item for item, is_gone in zip(garbage, done, strict=True) if is_gone]


def _remove(store: ObjectStore, item: Garbage) -> bool:
    if _is_taken_up(store, item):
        return False
    if item.upload is not None:
        store.abort_upload(item.upload)
        return True
    for pointer in item.pointers:
        store.delete_file(pointer)
    manifest = f"{item.path}/{MANIFEST}"
    if is_manifest(manifest) and store.exists(manifest):
        # First, so that no half of it passes for an artifact.
        text = store.read(manifest)
        store.delete_file(manifest)
        if _is_taken_up(store, item):
            # A run pointed to it between the look and the deletion. One that points to it from
            # here on reads the manifest afterwards, and finds none.
            store.write(manifest, text)
            return False
    store.delete(item.path)
    return True


def _is_taken_up(store: ObjectStore, item: Garbage) -> bool:
    """Whether a run that is at work now, or a pointer written since, needs it."""
    if item.path.startswith(f"{LIVE}/"):
        return item.path not in ended_runs(store)
    held, home = held_attempts(store), key_folder(item.path)
    if item.upload is not None or "/checkpoints/" in item.path:
        return home in {key_folder(path) for path in held}
    if item.path in held:
        return True
    since = [
        f"{home}/{name}"
        for name in store.children(home)
        if (match := POINTER.fullmatch(name)) and int(match[1]) > item.newest_generation
    ]
    return item.path in _named(store, since).values()


def _by_generation(
    store: ObjectStore, contents: Contents, keep_generations: int | None
) -> tuple[set[str], dict[str, tuple[str, ...]]]:
    """Attempts that stay for their pointers, and those that do not with the pointers to them.

    Only whole artifacts count: a generation whose files are lost does not push another one out.
    """
    kept = set[str]()
    dropped: dict[str, tuple[str, ...]] = {}
    n_whole: dict[str, int] = {}
    named = _named(store, contents.pointers)
    for pointer in sorted(named, key=generation_of, reverse=True):
        path, home = named[pointer], key_folder(pointer)
        if keep_generations is None or n_whole.get(home, 0) < keep_generations:
            kept.add(path)
            n_whole[home] = n_whole.get(home, 0) + _is_whole(path, contents.folders.get(path, ()))
        elif path not in kept:
            dropped[path] = (*dropped.get(path, ()), pointer)
    return kept, dropped


def _named(store: ObjectStore, pointers: list[str]) -> dict[str, str]:
    """Attempts by the pointers that name them."""
    records = read_json_of_all(store, pointers)
    return {
        pointer: f"{key_folder(pointer)}/{record['attempt']}"
        for pointer, record in zip(pointers, records, strict=True)
    }


def _left_by_killed_runs(
    store: ObjectStore, at_work: set[str], youngest: float
) -> Iterator[Garbage]:
    for path in sorted(ended_runs(store)):
        for record in store.files(path):
            if record.modified_seconds <= youngest:
                yield Garbage(path, record.n_bytes, "its run is gone")
    for upload in store.unfinished_uploads():
        is_ours = folder_of(upload.path) is not None
        if is_ours and upload.begun_seconds <= youngest and key_folder(upload.path) not in at_work:
            yield Garbage(upload.path, 0, "upload never finished", upload=upload)


def _why(
    path: str,
    files: list[StoredFile],
    newest: dict[str, int],
    dropped: dict[str, tuple[str, ...]],
) -> str | None:
    if "/checkpoints/" in path:
        # A run that starts now trains the generation after the newest one.
        is_over = int(path.rpartition("/")[2]) <= newest.get(key_folder(path), 0)
        return "training finished" if is_over else None
    if path in dropped:
        return "older generation"
    return "superseded" if _is_whole(path, files) else "never finished"


def _is_whole(path: str, files: Iterable[StoredFile]) -> bool:
    return any(file.path == f"{path}/{MANIFEST}" for file in files)


def _reachable(
    store: ObjectStore, folders: dict[str, list[StoredFile]], waiting: set[str]
) -> set[str]:
    kept: set[str] = set()
    while waiting:
        kept |= waiting & folders.keys()
        manifests = [
            f"{path}/{MANIFEST}"
            for path in sorted(waiting)
            if _is_whole(path, folders.get(path, ()))
        ]
        found = read_json_of_all(store, manifests)
        waiting = {path for manifest in found for path in _inputs(store, manifest)} - kept
    return kept


def _inputs(store: ObjectStore, manifest: dict[str, Any]) -> Iterator[str]:
    for artifact in manifest["inputs"]:
        if artifact["uri"].startswith(f"{store.root}/"):
            yield store.relative(artifact["uri"])
