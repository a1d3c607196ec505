"""Safetensors, streamed: one tensor in memory at a time."""

import errno
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from infra.errors import ArtifactNotFoundError, CorruptFileError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

INDEX_NAME = "model.safetensors.index.json"


def save_tensors(path: Path, tensors: Mapping[str, "Tensor"]) -> None:
    """Write named tensors into one file; equal tensors give equal bytes."""
    from safetensors.torch import save_file  # imports torch, which readers of names do not need

    path.parent.mkdir(parents=True, exist_ok=True)
    contiguous = {name: tensors[name].detach().contiguous() for name in sorted(tensors)}
    try:
        # A single metadata entry: the format keeps no order among several.
        save_file(contiguous, path, metadata={"format": "pt"})
    except SafetensorError as error:
        # The library keeps the system's error number in its text alone.
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else errno.EIO, str(error), str(path)) from error
    # The library makes files that only their owner reads; others share the store.
    path.chmod(path.parent.stat().st_mode & 0o666)


def write_shards(
    folder: Path, tensors: Iterable[tuple[str, "Tensor"]], max_shard_bytes: int
) -> None:
    """Write a stream of tensors as Hugging Face shards, holding one shard at a time.

    A model that fits one shard becomes ``model.safetensors`` without an index.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shard_of: dict[str, int] = {}
    n_total_bytes = n_shards = 0
    for shard in _grouped(tensors, max_shard_bytes):
        n_shards += 1
        save_tensors(folder / _shard_name(n_shards, 0), shard)
        shard_of.update(dict.fromkeys(shard, n_shards))
        n_total_bytes += sum(map(_n_bytes, shard.values()))
        del shard  # or it would be held while the next one is filled
    if n_shards == 1:
        (folder / _shard_name(1, 0)).rename(folder / "model.safetensors")
        return
    for number in range(1, n_shards + 1):
        (folder / _shard_name(number, 0)).rename(folder / _shard_name(number, n_shards))
    weight_map = {name: _shard_name(shard_of[name], n_shards) for name in sorted(shard_of)}
    index = {"metadata": {"total_size": n_total_bytes}, "weight_map": weight_map}
    (folder / INDEX_NAME).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")


def _grouped(
    tensors: Iterable[tuple[str, "Tensor"]], max_shard_bytes: int
) -> Iterator[dict[str, "Tensor"]]:
    shard: dict[str, Tensor] = {}
    n_shard_bytes = 0
    for name, tensor in tensors:
        if shard and n_shard_bytes + _n_bytes(tensor) > max_shard_bytes:
            yield shard
            shard, n_shard_bytes = {}, 0
        shard[name] = tensor
        n_shard_bytes += _n_bytes(tensor)
    if shard:
        yield shard


def _n_bytes(tensor: "Tensor") -> int:
    return tensor.numel() * tensor.element_size()


def _shard_name(number: int, total: int) -> str:
    return f"model-{number:05d}-of-{total:05d}.safetensors"


class TensorFolder:
    """The tensors of a folder's safetensors files, read one at a time.

    Args:
        folder: local folder.
        pattern: which files; a folder may hold others beside the model.
    """

    def __init__(self, folder: Path, pattern: str = "model*.safetensors") -> None:
        self._folder = folder
        self._files = sorted(folder.glob(pattern))
        if not self._files:
            raise ArtifactNotFoundError(
                f"{folder} holds no {pattern}; weights are read from safetensors only, "
                "convert other formats first."
            )

    @cached_property
    def _file_of(self) -> dict[str, Path]:
        file_of: dict[str, Path] = {}
        for path in self._files:
            with open_tensors(path) as file:
                file_of.update(dict.fromkeys(file.keys(), path))
        return file_of

    def names(self) -> list[str]:
        """All tensor names, sorted."""
        return sorted(self._file_of)

    def get(self, name: str) -> "Tensor":
        """One tensor, as stored."""
        with open_tensors(self._file(name)) as file:
            return file.get_tensor(name)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one tensor, without reading it."""
        with open_tensors(self._file(name)) as file:
            return tuple(file.get_slice(name).get_shape())

    def dtype(self, name: str) -> "torch.dtype":
        """Stored dtype of one tensor."""
        with open_tensors(self._file(name)) as file:
            return file.get_slice(name)[:0].dtype

    def _file(self, name: str) -> Path:
        if name not in self._file_of:
            raise ArtifactNotFoundError(
                f"{self._folder} holds no tensor {name!r} (it has {len(self._file_of)}); "
                "the architecture in config.json and the weights do not belong together."
            )
        return self._file_of[name]


def open_tensors(path: Path) -> safe_open:
    """Open one safetensors file lazily (a context manager).

    Raises:
        CorruptFileError: the file is cut short or no safetensors.
    """
    try:
        return safe_open(path, framework="pt")
    except SafetensorError as error:
        raise CorruptFileError(
            f"{path} cannot be read as safetensors ({error}); it is damaged or cut short: "
            "delete it and fetch it again."
        ) from error
