"""Choices of the initialiser that trains rows on pairs of words."""

from typing import Literal

from pydantic import Field

from tasks.embedding.config_base import HeadRule, InitialiserConfig
from tasks.embedding.config_lexical import DictionaryFile
from tasks.embedding.config_outside import OutsideFiles, OutsidePath


class PreAlign(InitialiserConfig):
    """Input rows trained until the frozen model reads a word as it reads its translation.

    PreAlign (Li et al. 2024), which trains the whole model so; here all but the new rows stay.
    """

    method: Literal["prealign"] = "prealign"
    head: HeadRule = "prefix_prior"
    dictionary: DictionaryFile
    """Words of the source model's language and of the new tokenizer's."""
    start: Literal["mean_of_pieces", "composed"] = "composed"
    """Rows that training starts from."""
    n_steps: int = Field(default=100, ge=0)
    """Optimizer steps; 0 leaves the rows that training starts from."""
    pairs_per_step: int = Field(default=128, gt=1)
    """Word pairs of a step: each word is told from the translations of all others."""
    lr: float = Field(default=1e-2, gt=0.0)
    """Peak rate of Adam; falls to zero along half a cosine. Most tokens are met a few times, and
    each time must count."""
    temperature: float = Field(default=0.1, gt=0.0)
    """Of the softmax over cosines: the lower, the more the nearest wrong translations count."""
    n_layers: int | None = Field(default=None, gt=0)
    """Layers of the model that run. Null runs all."""
    compute_dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of matrix products; rows are trained in float32. ``auto``: bfloat16 where the hardware
    multiplies it."""
    seed: int = Field(default=0, ge=0)
    """Chooses the order of pairs."""

    @property
    def outside_files(self) -> OutsideFiles:
        """The dictionary."""
        path = OutsidePath(role="dictionary", path=self.dictionary.path, kind="dictionary")
        return OutsideFiles(paths=(path,))
