"""State of a training run, written by all its workers, readable by any number of them.

Layout below the run's folder in the store::

    step-00000050/rank-00000.safetensors   the part of every tensor that this worker wrote
    step-00000050/rank-00000.json          shapes, offsets and sha256 of that part
    step-00000050/manifest.json            written last; without it the step does not exist

A sharded tensor (DTensor) is written in parts, each worker its own; a replicated one by one worker.
"""

import json
import logging
import tempfile
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.checkpoint_reading import (
    Checkpoint,
    CheckpointMismatchError,
    CheckpointReader,
    is_sharded,
    local_part,
)
from infra.errors import CorruptFileError, MissingFileError
from infra.keys import file_sha256
from infra.object_store import ObjectStore
from infra.records import read_json
from infra.weights import save_tensors

if TYPE_CHECKING:
    from torch import Tensor

MANIFEST = "manifest.json"
_LOG = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints of one run.

    Args:
        store: where they lie.
        path: the run's folder in the store; one live run at a time (a lease is the caller's).
    """

    def __init__(self, store: ObjectStore, path: str) -> None:
        self._store = store
        self._path = path
        self._n_damaged = 0

    def steps(self) -> list[int]:
        """Steps that stand whole, oldest first."""
        return [
            int(name.removeprefix("step-"))
            for name in self._store.children(self._path)
            if name.startswith("step-") and self._store.exists(f"{self._path}/{name}/{MANIFEST}")
        ]

    def write_part(
        self,
        step: int,
        tensors: Mapping[str, "Tensor"],
        own: Mapping[str, "Tensor"],
        rank: int,
        world_size: int,
    ) -> None:
        """Write this worker's part of a step.

        Args:
            step: number of finished steps.
            tensors: the same names on every worker; replicated, or sharded as DTensor.
            own: tensors of this worker alone, under names that no other worker uses.
            rank: this worker.
            world_size: number of workers that write.
        """
        parts: dict[str, tuple[Tensor, dict[str, Any]]] = {}
        for number, (name, tensor) in enumerate(sorted(tensors.items())):
            local, shape, offset = local_part(tensor)
            if local.numel() and (is_sharded(tensor) or number % world_size == rank):
                parts[name] = local, _entry(local, shape, offset)
        for name, tensor in own.items():
            parts[name] = tensor, _entry(tensor, tuple(tensor.shape), (0,) * tensor.ndim)
        file = f"rank-{rank:05d}"
        with self._scratch(step) as folder:
            save_tensors(folder / f"{file}.safetensors", {n: t for n, (t, _) in parts.items()})
            sha256 = file_sha256(folder / f"{file}.safetensors")
            if not self._store.is_local:
                data = folder / f"{file}.safetensors"
                self._store.upload(data, f"{self._folder(step)}/{data.name}")
        entries = {n: entry for n, (_, entry) in parts.items()}
        index = {"sha256": sha256, "world_size": world_size, "parts": entries}
        self._store.write(f"{self._folder(step)}/{file}.json", json.dumps(index).encode())

    def complete(self, step: int, world_size: int, record: Mapping[str, Any], keep: int) -> None:
        """Make a step stand after every worker wrote its part, then drop the oldest ones.

        Args:
            step: number of finished steps.
            world_size: number of workers that wrote.
            record: JSON values to find with it.
            keep: how many steps to keep, this one included.

        Raises:
            CheckpointMismatchError: another run wrote a part of it, so it is not whole.
        """
        files: dict[str, Any] = {}
        for rank in range(world_size):
            file = f"rank-{rank:05d}"
            index = read_json(self._store, f"{self._folder(step)}/{file}.json")
            if index["world_size"] != world_size:
                raise CheckpointMismatchError(
                    f"{self._store.uri(self._folder(step))}/{file}.json is one of "
                    f"{index['world_size']} parts and not of {world_size}: two runs train the "
                    "same key; end one of them, the other goes on when started again."
                )
            files[f"{file}.safetensors"] = index
        manifest = {"step": step, "world_size": world_size, "record": dict(record), "files": files}
        self._store.write(f"{self._folder(step)}/{MANIFEST}", json.dumps(manifest).encode())
        for old in self.steps()[:-keep]:
            # Manifest first: a half-deleted step must not look whole.
            self._store.delete_file(f"{self._folder(old)}/{MANIFEST}")
            self._store.delete(self._folder(old))

    def newest(self) -> Checkpoint | None:
        """The newest step that stands whole, if there is one; its tensors are not looked at."""
        for step in reversed(self.steps()):
            try:
                manifest = read_json(self._store, f"{self._folder(step)}/{MANIFEST}")
            except MissingFileError:
                continue  # another worker found it damaged
            except CorruptFileError as error:
                self._give_up(step, error)
            else:
                return Checkpoint(self._store, self._folder(step), manifest)
        return None

    @contextmanager
    def open_newest(self) -> Generator[tuple[Checkpoint, CheckpointReader] | None]:
        """The newest step whose files are what was written, fetched and checked.

        Raises:
            CorruptFileError: the only step that stands is damaged. To begin anew is not decided
                here: it may cost days.
        """
        with ExitStack() as stack:
            yield self._enter_newest(stack)

    def _enter_newest(self, stack: ExitStack) -> tuple[Checkpoint, CheckpointReader] | None:
        while (newest := self.newest()) is not None:
            try:
                return newest, stack.enter_context(newest.open())
            except CorruptFileError as error:
                self._give_up(newest.step, error)
        return None

    def _give_up(self, step: int, error: CorruptFileError) -> None:
        """Let a damaged step stand no longer, for all workers alike, where an older one does."""
        older = [other for other in self.steps() if other < step]
        if not older:
            raise error
        self._n_damaged += 1
        self._store.delete_file(f"{self._folder(step)}/{MANIFEST}")
        _LOG.warning(
            "the checkpoint of step %d is damaged (%d so far); going on from step %d: %s",
            step, self._n_damaged, older[-1], error,
        )  # fmt: skip

    def _folder(self, step: int) -> str:
        return f"{self._path}/step-{step:08d}"

    @contextmanager
    def _scratch(self, step: int) -> Generator[Path]:
        """The step's own folder in a local store, a temporary one before an upload."""
        if self._store.is_local:
            yield self._store.local_path(self._folder(step))
        else:
            with tempfile.TemporaryDirectory(prefix="tokgraft-checkpoint-") as folder:
                yield Path(folder)


def _entry(local: "Tensor", shape: tuple[int, ...], offset: tuple[int, ...]) -> dict[str, Any]:
    return {"shape": list(shape), "offset": list(offset), "size": list(local.shape)}
