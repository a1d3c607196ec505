"""Artifacts: what a stage wrote, where it lies, and how it is found again.

Layout below the store's root::

    {stage}/{key}/{attempt}/...                 files of one attempt
    {stage}/{key}/{attempt}/manifest.json       written last; without it the attempt does not exist
    {stage}/{key}/current-{generation}.json     names one attempt; create-only where servers allow

Two runs that finish one key at once both hold a whole attempt; the pointer decides which one later
runs see. A generation is raised to run a stage again although its key stands.
"""

import json
import re
import secrets
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict

from infra.errors import ArtifactNotFoundError, CorruptFileError, StoreError
from infra.keys import canonical_json, content_digest, file_sha256
from infra.object_store import ObjectStore, store_at
from infra.records import damaged_record, parse_record, read_json
from infra.settings import get_settings

Summary = dict[str, int | float | str | bool | None]
MANIFEST = "manifest.json"
_POINTER = re.compile(r"current-(\d+)\.json")
_ATTEMPT = re.compile(r"\d{8}T\d{6}-[0-9a-f]{8}")


class Artifact(BaseModel):
    """The output of one stage: small, immutable, passed between stages instead of data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str
    """Where one attempt lies."""
    digest: str
    """sha256 over its data files; equal content, equal digest, wherever it lies."""
    stage: str
    summary: Summary = {}

    @property
    def is_known(self) -> bool:
        """False for what a plan cannot know before its inputs exist."""
        return bool(self.digest)


@dataclass
class Attempt:
    """One try at writing an artifact; it becomes one when the manifest is written."""

    stage: str
    key: str
    generation: int
    name: str
    folder: Path
    """Local folder to write into; everything below it belongs to the artifact."""
    store: ObjectStore
    progress: Callable[[float, float, str], None] = field(default=lambda _d, _t, _s: None)
    """Called with (done, total, text) while the stage works."""

    @property
    def path(self) -> str:
        """Where the attempt lies below the store's root."""
        return f"{self.stage}/{self.key}/{self.name}"

    @property
    def checkpoints_path(self) -> str:
        """Where training keeps its state: beside the attempts, shared by all of one generation."""
        return f"{self.stage}/{self.key}/checkpoints/{self.generation}"


def new_attempt_name() -> str:
    """Unique, and sorted by time for people who list a folder."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"


def publish(attempt: Attempt, record: dict[str, Any], volatile: tuple[str, ...]) -> Artifact:
    """Hash and store the attempt's files, then its manifest: from here on it exists.

    Args:
        attempt: with all files below ``attempt.folder``.
        record: provenance to store with it (config, inputs, versions, times, summary).
        volatile: names (globs) of files left out of the digest: wall-clock measures and views.
    """
    files: list[dict[str, Any]] = []
    for path in sorted(p for p in attempt.folder.rglob("*") if p.is_file()):
        name = path.relative_to(attempt.folder).as_posix()
        files.append(
            {
                "path": name,
                "n_bytes": path.stat().st_size,
                "sha256": file_sha256(path),
                "volatile": any(PurePosixPath(name).match(glob) for glob in volatile),
            }
        )
        if not attempt.store.is_local:
            attempt.store.upload(path, f"{attempt.path}/{name}")
    digest = content_digest({f["path"]: f["sha256"] for f in files if not f["volatile"]})
    manifest = {
        **record,
        "stage": attempt.stage,
        "key": attempt.key,
        "generation": attempt.generation,
        "attempt": attempt.name,
        "digest": digest,
        "files": files,
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
    attempt.store.write(f"{attempt.path}/{MANIFEST}", text.encode())
    return _artifact(attempt.store, attempt.path, manifest)


def make_current(artifact: Artifact, generation: int) -> Artifact:
    """Point the key's generation at this artifact; returns the one that it points to after all."""
    store = store_of(artifact)
    path = store.relative(artifact.uri)
    folder, _, name = path.rpartition("/")
    pointer = f"{folder}/current-{generation}.json"
    store.create(pointer, canonical_json({"attempt": name, "digest": artifact.digest}))
    winner = read_json(store, pointer)["attempt"]
    return artifact if winner == name else read_artifact(store.uri(f"{folder}/{winner}"))


def find_current(store: ObjectStore, stage: str, key: str) -> tuple[Artifact | None, int]:
    """The standing artifact of a key and its generation; (None, 0) where there is none.

    A pointer whose attempt lost its manifest counts as absent: the stage then runs again as the
    next generation. A whole attempt whose run was killed before it could point to it stands too.
    """
    names = store.children(f"{stage}/{key}")
    generations = sorted(int(match[1]) for name in names if (match := _POINTER.fullmatch(name)))
    if not generations:
        for name in filter(_ATTEMPT.fullmatch, reversed(names)):
            with suppress(ArtifactNotFoundError):
                return make_current(read_artifact(store.uri(f"{stage}/{key}/{name}")), 1), 1
        return None, 0
    pointer = read_json(store, f"{stage}/{key}/current-{generations[-1]}.json")
    try:
        artifact = read_artifact(store.uri(f"{stage}/{key}/{pointer['attempt']}"))
    except ArtifactNotFoundError:
        return None, generations[-1]
    return artifact, generations[-1]


def read_artifact(uri: str) -> Artifact:
    """The artifact at an address, from its manifest."""
    store = store_at(get_settings().store_root)
    path = store.relative(uri)
    return _artifact(store, path, _manifest_at(store, path))


def read_artifacts(store: ObjectStore, paths: Sequence[str]) -> list[Artifact]:
    """The artifacts at many paths of the store, in that order."""
    texts = store.read_all([f"{path}/{MANIFEST}" for path in paths])
    return [
        _artifact(store, path, parse_manifest(store, path, text))
        for path, text in zip(paths, texts, strict=True)
    ]


def read_manifest(artifact: Artifact) -> dict[str, Any]:
    """Everything recorded about an artifact."""
    store = store_of(artifact)
    return _manifest_at(store, store.relative(artifact.uri))


def open_artifact(artifact: Artifact, pattern: str = "*") -> Path:
    """A local folder with the artifact's files, each checked against its sha256.

    Args:
        artifact: what to open.
        pattern: glob over the files' paths; only these are fetched and checked.

    Returns:
        The store's own folder when it is local, else a cached copy. Do not write into it.

    Raises:
        CorruptFileError: a file is not what the manifest says.
        ArtifactNotFoundError: no file matches.
    """
    store = store_of(artifact)
    path = store.relative(artifact.uri)
    folder = (
        store.local_path(path)
        if store.is_local
        else get_settings().cache_dir / "artifacts" / artifact.stage / PurePosixPath(path).name
    )
    matched = [
        f for f in read_manifest(artifact)["files"] if PurePosixPath(f["path"]).match(pattern)
    ]
    if not matched:
        raise ArtifactNotFoundError(
            f"{artifact.uri} has no file {pattern}; it was written by another version of the "
            f"{artifact.stage} stage: run it again with --force {artifact.stage}."
        )
    for file in matched:
        local = folder / file["path"]
        if not store.is_local and not (local.exists() and _is_intact(local, file)):
            store.download(f"{path}/{file['path']}", local)
            _checked.pop(local, None)
        if not _is_intact(local, file):
            raise _not_as_written(store, path, file, artifact.stage)
    return folder


def verify_artifact(artifact: Artifact) -> int:
    """Check every file where it is stored, not a cached copy; returns how many there are.

    Raises:
        CorruptFileError: a file is not what the manifest says.
        StoreError: a file is gone.
    """
    store = store_of(artifact)
    path = store.relative(artifact.uri)
    files = read_manifest(artifact)["files"]
    with tempfile.TemporaryDirectory(prefix="tokgraft-verify-") as scratch:
        for file in files:
            stored = f"{path}/{file['path']}"
            local = store.local_path(stored) if store.is_local else Path(scratch) / "file"
            if not store.is_local:
                store.download(stored, local)
            if not local.is_file() or file_sha256(local) != file["sha256"]:
                raise _not_as_written(store, path, file, artifact.stage)
    return len(files)


def store_of(artifact: Artifact) -> ObjectStore:
    """The store an artifact lies in: the one of the settings."""
    store = store_at(get_settings().store_root)
    store.relative(artifact.uri)
    return store


def all_attempts(store: ObjectStore, stage: str = "") -> Iterator[str]:
    """Paths of all whole attempts, or of those of one stage."""
    for file in store.files(stage):
        parts = PurePosixPath(file.path).parts
        if len(parts) == 4 and parts[3] == MANIFEST:
            yield "/".join(parts[:3])


_checked: dict[Path, tuple[int, int, str]] = {}
"""What this process has hashed already: path -> (size, mtime in ns, sha256)."""


def _is_intact(local: Path, file: dict[str, Any]) -> bool:
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


def _not_as_written(
    store: ObjectStore, path: str, file: dict[str, Any], stage: str
) -> CorruptFileError:
    return CorruptFileError(
        f"{store.uri(path)}/{file['path']} is not what was written (sha256 or size differ "
        f"from its manifest); run the stage again with --force {stage}."
    )


def _manifest_at(store: ObjectStore, path: str) -> dict[str, Any]:
    try:
        text = store.read(f"{path}/{MANIFEST}")
    except StoreError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise ArtifactNotFoundError(
            f"no artifact at {store.uri(path)} (it has no {MANIFEST}); "
            "`tokgraft artifacts ls` lists what the store holds."
        ) from error
    return parse_manifest(store, path, text)


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


def _artifact(store: ObjectStore, path: str, manifest: dict[str, Any]) -> Artifact:
    return Artifact(
        uri=store.uri(path),
        digest=manifest["digest"],
        stage=manifest["stage"],
        summary=manifest.get("summary", {}),
    )
