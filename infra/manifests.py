"""Manifests: what is known of one attempt, and whether its files are what it says."""

from pathlib import Path, PurePosixPath
from typing import Any

from infra.errors import ArtifactNotFoundError, CorruptFileError, MissingFileError
from infra.keys import content_digest, file_sha256
from infra.object_store import ObjectStore
from infra.records import damaged_record, parse_record

MANIFEST = "manifest.json"
_MOST_KNOWN = 256
_known: dict[str, dict[str, Any]] = {}


def manifest_at(store: ObjectStore, path: str, *, known: bool = False) -> dict[str, Any]:
    """Read the manifest of the attempt at ``path``.

    Args:
        store: where the attempt lies.
        path: the attempt.
        known: whether what this process read before will do: nothing changes a manifest.

    Raises:
        ArtifactNotFoundError: there is none.
        CorruptFileError: it cannot be that attempt's.
    """
    place = store.uri(path)
    if known and place in _known:
        return _known[place]
    try:
        text = store.read(f"{path}/{MANIFEST}")
    except MissingFileError as error:
        raise ArtifactNotFoundError(
            f"no artifact at {place} (it has no {MANIFEST}); "
            "`tokgraft artifacts ls` lists what the store holds."
        ) from error
    manifest = parse_manifest(store, path, text)
    if len(_known) >= _MOST_KNOWN:
        _known.clear()
    _known[place] = manifest
    return manifest


def parse_manifest(store: ObjectStore, path: str, text: bytes) -> dict[str, Any]:
    """The manifest of the attempt at ``path`` from what was read there.

    Raises:
        CorruptFileError: it cannot be that attempt's, or names files outside of it.
    """
    manifest = parse_record(store, f"{path}/{MANIFEST}", text)
    try:
        place = f"{manifest['stage']}/{manifest['key']}/{manifest['attempt']}"
        names = [file["path"] for file in manifest["files"]]
        hashes = {f["path"]: f["sha256"] for f in manifest["files"] if not f["volatile"]}
        digest = manifest["digest"]
    except (KeyError, TypeError) as error:
        why = f"it lacks or mistypes {error}"
        raise damaged_record(store, f"{path}/{MANIFEST}", why) from error
    if place != path:
        raise damaged_record(store, f"{path}/{MANIFEST}", f"it says that it is {place}")
    # Such a name would be read, or written when it is fetched, outside the artifact.
    if outside := [n for n in names if n.startswith("/") or ".." in PurePosixPath(n).parts]:
        raise damaged_record(store, f"{path}/{MANIFEST}", f"{outside[0]!r} leaves the artifact")
    if content_digest(hashes) != digest:
        raise damaged_record(store, f"{path}/{MANIFEST}", "its digest is not that of its files")
    return manifest


_checked: dict[Path, tuple[int, int, str]] = {}
"""What this process has hashed already: path -> (size, mtime in ns, sha256)."""


def is_intact(local: Path, file: dict[str, Any]) -> bool:
    """Whether a local file is what the manifest's entry says; hashed once a process."""
    try:
        status = local.stat()
    except FileNotFoundError:
        return False
    if status.st_size != file["n_bytes"]:
        return False
    known = _checked.get(local)
    if known is None or known[:2] != (status.st_size, status.st_mtime_ns):
        known = (status.st_size, status.st_mtime_ns, file_sha256(local))
        _checked[local] = known
    return known[2] == file["sha256"]


def not_as_written(
    store: ObjectStore, path: str, file: dict[str, Any], stage: str
) -> CorruptFileError:
    """The error for a file that is not what the manifest's entry says."""
    return CorruptFileError(
        f"{store.uri(path)}/{file['path']} is not what was written (sha256 or size differ "
        f"from its manifest); run the stage again with --force {stage}."
    )
