"""What initialisers that train or read text ask of the stage, read when it is asked for."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


@runtime_checkable
class Texts(Protocol):
    """Documents of the corpus as arrays of ids, and the model that is to read them."""

    def new_ids(self, max_bytes: int, seed: int) -> Iterator[np.ndarray]:
        """Documents under the new tokenizer, up to a budget."""
        ...

    def both_ids(self, max_bytes: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The same documents under the old and under the new tokenizer."""
        ...

    def model(self) -> "PreTrainedModel":
        """The source model in float32."""
        ...

    def compute_dtype(self, asked: str) -> "torch.dtype":
        """Dtype of matrix products on this machine."""
        ...

    def progress(self, done: int, total: int, text: str) -> None:
        """Say how far the work is."""
        ...


@runtime_checkable
class Outside(Texts, Protocol):
    """Text, and files from outside the run."""

    def device(self) -> str:
        """Where networks are computed."""
        ...

    def outside_file(self, role: str) -> Path:
        """The locked file that is this to the initialiser."""
        ...
