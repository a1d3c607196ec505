"""Artifacts: what a stage wrote, where it lies, and how it is found again.

Layout below the store's root::

    {stage}/{key}/{attempt}/...                 files of one attempt
    {stage}/{key}/{attempt}/manifest.json       written last; without it the attempt does not exist
    {stage}/{key}/current-{generation}.json     names one attempt; create-only where servers allow

Two runs that finish one key at once both hold a whole attempt; the pointer decides which one later
runs see. A generation is raised to run a stage again although its key stands.
"""

import json
import secrets
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict

from infra.artifact_cache import cached_copy
from infra.errors import ArtifactNotFoundError
from infra.keys import canonical_json, content_digest, file_sha256
from infra.layout import ATTEMPT, POINTER, is_manifest
from infra.manifests import MANIFEST, is_intact, manifest_at, not_as_written, parse_manifest
from infra.object_store import ObjectStore, store_at
from infra.parallel import at_once
from infra.records import read_json
from infra.settings import get_settings

Summary = dict[str, int | float | str | bool | None]


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
    names = [
        path.relative_to(attempt.folder).as_posix()
        for path in sorted(attempt.folder.rglob("*"))
        if path.is_file()
    ]
    if not attempt.store.is_local:
        at_once(lambda n: attempt.store.upload(attempt.folder / n, f"{attempt.path}/{n}"), names)
    files: list[dict[str, Any]] = [
        {
            "path": name,
            "n_bytes": (attempt.folder / name).stat().st_size,
            "sha256": file_sha256(attempt.folder / name),
            "volatile": any(PurePosixPath(name).match(glob) for glob in volatile),
        }
        for name in names
    ]
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
    generations = sorted(int(match[1]) for name in names if (match := POINTER.fullmatch(name)))
    if not generations:
        for name in filter(ATTEMPT.fullmatch, reversed(names)):
            with suppress(ArtifactNotFoundError):
                make_current(read_artifact(store.uri(f"{stage}/{key}/{name}")), 1)
                break
        else:
            return None, 0
        generations = [1]  # read below like any other: ``gc`` may have begun to remove it
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
    return _artifact(store, path, manifest_at(store, path))


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
    return manifest_at(store, store.relative(artifact.uri))


def open_artifact(artifact: Artifact, pattern: str = "*") -> Path:
    """A local folder with the artifact's files, each checked against its sha256.

    Args:
        artifact: what to open.
        pattern: glob over the files' paths; only these are fetched and checked.

    Returns:
        The store's own folder when it is local, else a cached copy, which stays to the end of the
        stage, or of the process outside of one. Do not write into it.

    Raises:
        CorruptFileError: a file is not what the manifest says.
        ArtifactNotFoundError: no file matches.
    """
    store = store_of(artifact)
    path = store.relative(artifact.uri)
    manifest = manifest_at(store, path, known=True)
    matched = [f for f in manifest["files"] if PurePosixPath(f["path"]).match(pattern)]
    if not matched:
        raise ArtifactNotFoundError(
            f"{artifact.uri} has no file {pattern}; it was written by another version of the "
            f"{artifact.stage} stage: run it again with --force {artifact.stage}."
        )
    if not store.is_local:
        return cached_copy(store, path, artifact.stage, matched)
    for file in matched:
        if not is_intact(store.local_path(path) / file["path"], file):
            raise not_as_written(store, path, file, artifact.stage)
    return store.local_path(path)


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
                store.download(stored, local, file["n_bytes"])
            if not local.is_file() or file_sha256(local) != file["sha256"]:
                raise not_as_written(store, path, file, artifact.stage)
    return len(files)


def store_of(artifact: Artifact) -> ObjectStore:
    """The store an artifact lies in: the one of the settings."""
    store = store_at(get_settings().store_root)
    store.relative(artifact.uri)
    return store


def all_attempts(store: ObjectStore, stage: str = "") -> Iterator[str]:
    """Paths of all whole attempts, or of those of one stage."""
    for file in store.files(stage):
        if is_manifest(file.path):
            yield file.path.removesuffix(f"/{MANIFEST}")


def _artifact(store: ObjectStore, path: str, manifest: dict[str, Any]) -> Artifact:
    return Artifact(
        uri=store.uri(path),
        digest=manifest["digest"],
        stage=manifest["stage"],
        summary=manifest.get("summary", {}),
    )
