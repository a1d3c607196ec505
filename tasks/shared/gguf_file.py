"""One GGUF file: its metadata as plain values, its tensors as views of the mapped file."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGUFReader, ReaderTensor

from tasks.shared.errors import InputError

_ROWS_AT_ONCE = 16_384
"""Unpacking needs several times the memory of what it unpacks, so it goes block by block."""


class GgufFileError(InputError):
    """A file is no GGUF, is cut short, or lacks what every GGUF model states."""


class UnsupportedGgufError(InputError):
    """A GGUF file is sound, but of a kind that cannot be imported faithfully."""


@dataclass(frozen=True)
class GgufFile:
    """What a GGUF file states; tensors stay on disk until they are asked for."""

    path: Path
    metadata: Mapping[str, Any]
    tensors: tuple[ReaderTensor, ...]

    @property
    def architecture(self) -> str:
        """The name llama.cpp gives the model's architecture."""
        return str(self.require("general.architecture"))

    @property
    def quantisation(self) -> str:
        """The type that most weights are stored in, such as ``Q4_1``."""
        n_elements: dict[str, int] = {}
        for tensor in self.tensors:
            name = tensor.tensor_type.name
            n_elements[name] = n_elements.get(name, 0) + int(tensor.n_elements)
        return max(sorted(n_elements), key=lambda name: n_elements[name])

    def require(self, key: str) -> Any:
        """The value of a metadata key that must be there."""
        if key not in self.metadata:
            raise GgufFileError(
                f"{self.path} has no metadata {key!r}; convert the model again with a current "
                "llama.cpp."
            )
        return self.metadata[key]


def read_gguf(path: Path) -> GgufFile:
    """Read metadata and the table of tensors.

    Raises:
        GgufFileError: the file is missing, no GGUF, or cut short.
        UnsupportedGgufError: it is one of several that llama.cpp split a model into.
    """
    if not path.is_file():
        raise GgufFileError(f"{path} does not exist; name a .gguf file.")
    try:
        with warnings.catch_warnings():
            # Views past the end of a short file overflow on the way to their error.
            warnings.simplefilter("ignore", RuntimeWarning)
            reader = GGUFReader(path)
        metadata = {key: field.contents() for key, field in reader.fields.items()}
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise GgufFileError(
            f"{path} ({path.stat().st_size} bytes) is no GGUF file or is cut short ({error}); "
            "fetch it again."
        ) from error
    if (n_files := int(metadata.get("split.count", 1))) > 1:
        raise UnsupportedGgufError(
            f"{path} is file {int(metadata['split.no']) + 1} of {n_files} that llama.cpp split a "
            "model into, each a GGUF of its own; make one of them with llama-gguf-split --merge."
        )
    if not reader.tensors:
        raise GgufFileError(f"{path} holds no tensors; name the file with the model's weights.")
    return GgufFile(path, metadata, tuple(reader.tensors))


def unpack(tensor: ReaderTensor) -> np.ndarray:
    """The tensor's values as float32, rows first, whatever it is stored in."""
    shape = tuple(int(size) for size in reversed(tensor.shape.tolist()))
    if tensor.data.ndim < 2:
        return np.array(gguf.quants.dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
    values = np.empty(shape, dtype=np.float32)
    for start in range(0, shape[0], _ROWS_AT_ONCE):
        block = tensor.data[start : start + _ROWS_AT_ONCE]
        values[start : start + len(block)] = gguf.quants.dequantize(block, tensor.tensor_type)
    return values
