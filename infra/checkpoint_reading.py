"""One checkpoint read back: by tensor name, whole or the part that a worker wants."""

import math
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.errors import CorruptFileError, InfraError, MissingFileError
from infra.keys import file_sha256
from infra.object_store import ObjectStore
from infra.weights import open_tensors

if TYPE_CHECKING:
    from torch import Tensor


class CheckpointMismatchError(InfraError, ValueError):
    """A checkpoint does not belong to the model or run that wants to go on from it."""


@dataclass(frozen=True)
class Part:
    """Where one worker's part of a tensor lies: in the whole tensor, and in which file."""

    file: str
    shape: tuple[int, ...]
    offset: tuple[int, ...]
    size: tuple[int, ...]


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

        local, shape, offset = local_part(target)
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


def is_sharded(tensor: "Tensor") -> bool:
    """Whether each worker holds a part of it."""
    return hasattr(tensor, "to_local")


def local_part(tensor: "Tensor") -> tuple["Tensor", tuple[int, ...], tuple[int, ...]]:
    """This worker's part, the shape of the whole, and where in it the part begins."""
    if not is_sharded(tensor):
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
