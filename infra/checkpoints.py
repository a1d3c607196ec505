"""State of a training run, written by all its workers, readable by any number of them.

Layout below the run's folder in the store::

    step-00000050/rank-00000.safetensors   the part of every tensor that this worker wrote
    step-00000050/rank-00000.json          shapes, offsets and sha256 of that part
    step-00000050/manifest.json            written last; without it the step does not exist

A sharded tensor (DTensor) is written in parts, each worker its own; a replicated one by one worker.
"""

import json
import logging
import math
import tempfile
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.errors import CorruptFileError, InfraError, MissingFileError
from infra.keys import file_sha256
from infra.object_store import ObjectStore
from infra.records import read_json
from infra.weights import open_tensors, save_tensors

if TYPE_CHECKING:
    from torch import Tensor

MANIFEST = "manifest.json"
_LOG = logging.getLogger(__name__)


class CheckpointMismatchError(InfraError, ValueError):
    """A checkpoint does not belong to the model or run that wants to go on from it."""


@dataclass(frozen=True)
class Part:
    """Where one worker's part of a tensor lies: in the whole tensor, and in which file."""

    file: str
    shape: tuple[int, ...]
    offset: tuple[int, ...]
    size: tuple[int, ...]


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
            local, shape, offset = _local_part(tensor)
            if local.numel() and (_is_sharded(tensor) or number % world_size == rank):
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

    def newest(self) -> "Checkpoint | None":
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
    def open_newest(self) -> Generator["tuple[Checkpoint, CheckpointReader] | None"]:
        """The newest step whose files are what was written, fetched and checked.

        Raises:
            CorruptFileError: the only step that stands is damaged. To begin anew is not decided
                here: it may cost days.
        """
        with ExitStack() as stack:
            yield self._enter_newest(stack)

    def _enter_newest(self, stack: ExitStack) -> "tuple[Checkpoint, CheckpointReader] | None":
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


class Checkpoint:
    """One step that stands whole; tensors are read by name, whole or in part."""

    def __init__(self, store: ObjectStore, folder: str, manifest: Mapping[str, Any]) -> None:
        self.step: int = manifest["step"]
        self.record: dict[str, Any] = manifest["record"]
        self._store = store
        self._folder = folder
        self._sha256 = {file: index["sha256"] for file, index in manifest["files"].items()}
        self._parts: dict[str, list[Part]] = {}
        for file, index in manifest["files"].items():
            for name, entry in index["parts"].items():
                part = Part(file, *(tuple(entry[k]) for k in ("shape", "offset", "size")))
                self._parts.setdefault(name, []).append(part)

    def names(self, prefix: str = "") -> list[str]:
        """Names of the stored tensors below a prefix, sorted."""
        return sorted(name for name in self._parts if name.startswith(prefix))

    def n_elements(self, name: str) -> int:
        """Numbers in one tensor."""
        return math.prod(self._parts[name][0].shape)

    @contextmanager
    def open(self) -> Generator["CheckpointReader"]:
        """Fetch and check the files, then read from them."""
        with tempfile.TemporaryDirectory(prefix="tokgraft-checkpoint-") as scratch:
            yield CheckpointReader(self._local_files(Path(scratch)), self._parts, self._folder)

    def _local_files(self, scratch: Path) -> dict[str, Path]:
        files: dict[str, Path] = {}
        for file, sha256 in self._sha256.items():
            path = f"{self._folder}/{file}"
            local = self._store.local_path(path) if self._store.is_local else scratch / file
            if not self._store.is_local:
                with suppress(MissingFileError):
                    self._store.download(path, local)
            if not local.exists() or file_sha256(local) != sha256:
                raise CorruptFileError(
                    f"{self._store.uri(path)} is not what was written (its sha256 differs or it is "
                    "gone), and no older checkpoint stands; delete its folder to train from the "
                    "start."
                )
            files[file] = local
        return files


class CheckpointReader:
    """Tensors of one checkpoint whose files are at hand."""

    def __init__(
        self, files: Mapping[str, Path], parts: Mapping[str, list[Part]], folder: str
    ) -> None:
        self._files = files
        self._parts = parts
        self._folder = folder

    def read_into(self, name: str, target: "Tensor") -> None:
        """Fill a tensor, or the local shard of a DTensor, in place.

        Raises:
            CheckpointMismatchError: nothing of that name and shape is stored.
        """
        import torch

        local, shape, offset = _local_part(target)
        parts = self._parts.get(name, [])
        if not parts or parts[0].shape != shape:
            have = parts[0].shape if parts else "nothing of that name"
            raise CheckpointMismatchError(
                f"{self._folder} holds {have} where {name} of shape {shape} is wanted; it belongs "
                "to another model: delete the folder to train from the start."
            )
        with torch.no_grad():
            for part in parts:
                _copy_overlap(part, self._files[part.file], name, local, offset)

    def read(self, name: str) -> "Tensor":
        """The whole tensor."""
        import torch

        first = self._parts[name][0]
        with open_tensors(self._files[first.file]) as file:
            if len(self._parts[name]) == 1:
                return file.get_tensor(name)
            dtype = file.get_slice(name)[:0].dtype
        whole = torch.empty(first.shape, dtype=dtype)
        self.read_into(name, whole)
        return whole


def _entry(local: "Tensor", shape: tuple[int, ...], offset: tuple[int, ...]) -> dict[str, Any]:
    return {"shape": list(shape), "offset": list(offset), "size": list(local.shape)}


def _is_sharded(tensor: "Tensor") -> bool:
    return hasattr(tensor, "to_local")


def _local_part(tensor: "Tensor") -> tuple["Tensor", tuple[int, ...], tuple[int, ...]]:
    """This worker's part, the shape of the whole, and where in it the part begins."""
    if not _is_sharded(tensor):
        return tensor, tuple(tensor.shape), (0,) * tensor.ndim
    from torch.distributed.tensor import DTensor
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    sharded: DTensor = tensor  # pyright: ignore[reportAssignmentType]
    _, offset = compute_local_shape_and_global_offset(
        sharded.shape, sharded.device_mesh, sharded.placements
    )
    return sharded.to_local(), tuple(sharded.shape), tuple(offset)


def _copy_overlap(
    part: Part, path: Path, name: str, local: "Tensor", offset: tuple[int, ...]
) -> None:
    """Copy what a stored part and a wanted one have in common."""
    source: list[slice] = []
    target: list[slice] = []
    for wanted, n_wanted, stored, n_stored in zip(
        offset, local.shape, part.offset, part.size, strict=True
    ):
        low, high = max(wanted, stored), min(wanted + n_wanted, stored + n_stored)
        if low >= high:
            return
        source.append(slice(low - stored, high - stored))
        target.append(slice(low - wanted, high - wanted))
    with open_tensors(path) as file:
        data = file.get_slice(name)[tuple(source)] if source else file.get_tensor(name)
        local[tuple(target)].copy_(data)
