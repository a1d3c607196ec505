"""What initialisers that know words are given: files from outside, texts, both tokenizers."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.embedding.config_vectors import Side
from tasks.embedding.fasttext_model import FastTextModel
from tasks.embedding.words_of_tokens import Encode

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Lexicon:
    """Readers, each asked only when a method needs it."""

    folder: Path
    """Files from outside under their roles, a suffix behind; or those of a sentence encoder."""
    source_folder: Path
    """The source model."""
    trained: Callable[[str], FastTextModel]
    """Vectors trained for a role."""
    encode: Callable[[Side], Encode]
    device: Callable[[], str]
    """Where a model runs on this machine."""
    model: Callable[[], "PreTrainedModel"]
    """The source model in float32, to train rows against."""
    compute_dtype: Callable[[str], "torch.dtype"]
    """Dtype of matrix products on this machine."""
    progress: Callable[[int, int, str], None] = lambda done, total, text: None

    def file(self, role: str) -> Path:
        """The one file with this role."""
        return next(path for path in self.folder.iterdir() if path.stem == role)

    def files(self, role: str) -> list[Path]:
        """All files whose role begins so, in the order of their names."""
        return sorted(self.folder.glob(f"{role}-*"))
