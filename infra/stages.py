"""Run a stage once for a key: look, work in an attempt, publish, point.

A crash at any moment leaves at most an attempt without manifest, which nobody reads.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.artifacts import (
    Artifact,
    Attempt,
    Summary,
    find_current,
    make_current,
    new_attempt_name,
    publish,
    read_manifest,
)
from infra.cache import entries_in_use
from infra.keys import stage_key
from infra.live_runs import live_run
from infra.manifests import MANIFEST
from infra.object_store import ObjectStore, explain, store_at
from infra.observation import StageWatch
from infra.process_memory import hand_back_freed_memory, resident_bytes
from infra.provenance import provenance
from infra.settings import get_settings

Progress = Callable[[float, float, str], None]


@dataclass(frozen=True)
class StageCall:
    """One stage with all that decides its output."""

    stage: str
    version: int
    config: Any
    """JSON values only."""
    inputs: tuple[Artifact, ...]
    volatile: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Where the output is found."""
        digests = [artifact.digest for artifact in self.inputs]
        return stage_key(self.stage, self.version, self.config, digests)

    def standing(self) -> tuple[Artifact | None, int]:
        """The artifact that stands for this call and its generation."""
        return find_current(settings_store(), self.stage, self.key)


def settings_store() -> ObjectStore:
    """The store of this process's settings."""
    return store_at(get_settings().store_root)


def run_call(
    call: StageCall,
    generation: int,
    body: Callable[[Attempt], Summary],
    progress: Progress,
    *,
    keep_equal: Artifact | None = None,
    watch: StageWatch | None = None,
) -> Artifact:
    """Run the body in a new attempt and publish what it wrote.

    Args:
        call: the stage.
        generation: which one to publish.
        body: writes below ``attempt.folder``.
        progress: hears how far the body is.
        keep_equal: return this artifact instead of a new one when every file is the same,
            volatile ones included: where a lock's files lie may change while they do not.
        watch: hears how much was published.
    """
    store = settings_store()
    name = new_attempt_name()
    path = f"{call.stage}/{call.key}/{name}"
    with live_run() as run:
        inputs = [a.uri for a in call.inputs if a.uri.startswith(f"{store.root}/")]
        run.hold([path, *(store.relative(uri) for uri in inputs)])
        memory_before = resident_bytes()
        with _attempt_folder(store, path) as folder, entries_in_use(), explain(store.root):
            attempt = Attempt(call.stage, call.key, generation, name, folder, store, progress)
            started = time.time()
            summary = body(attempt)
            artifact = publish(attempt, _record(call, summary, started), call.volatile)
            if watch is not None:
                watch.n_bytes = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
        hand_back_freed_memory(memory_before)
        if keep_equal is not None and _files(keep_equal) == _files(artifact):
            store.delete_file(f"{path}/{MANIFEST}")  # first: no half of it passes for an artifact
            store.delete(path)
            run.drop(path)
            return keep_equal
        current = make_current(artifact, generation)
        if current != artifact:
            run.drop(path)
        return current


def _files(artifact: Artifact) -> Any:
    return read_manifest(artifact)["files"]


def _record(call: StageCall, summary: Summary, started: float) -> dict[str, Any]:
    finished = time.time()
    return {
        **provenance(),
        "version": call.version,
        "config": call.config,
        "inputs": [a.model_dump(include={"stage", "digest", "uri"}) for a in call.inputs],
        "summary": summary,
        "started": datetime.fromtimestamp(started, UTC).isoformat(),
        "finished": datetime.fromtimestamp(finished, UTC).isoformat(),
        "seconds": round(finished - started, 3),
    }


@contextmanager
def _attempt_folder(store: ObjectStore, path: str) -> Generator[Path]:
    """The attempt's own place in a local store; a scratch folder before an upload otherwise."""
    if store.is_local:
        folder = store.local_path(path)
        with explain(store.root):
            folder.mkdir(parents=True)
        try:
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    else:
        with tempfile.TemporaryDirectory(prefix="tokgraft-") as scratch:
            yield Path(scratch)
