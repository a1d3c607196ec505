"""Rows before and after.

Dimensions: V = old vocabulary, W = new vocabulary, D = model width.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32

from tasks.embedding.row_weights import RowWeights

Step = Literal["kept", "made", "mean_of_pieces", "normal", "mean", "reserved"]
"""An old row kept, a row the initialiser made, a rule of its own, or a fallback."""


@dataclass(frozen=True)
class SourceRows:
    """Rows of the source model in float32; ``head`` is the input itself in a tied model."""

    input: Float32[np.ndarray, "V D"]
    head: Float32[np.ndarray, "V D"]
    head_bias: Float32[np.ndarray, " V"] | None
    tied: bool


@dataclass(frozen=True)
class Origins:
    """How the rows of one part came about, by new id."""

    methods: tuple[str, ...]
    weights: RowWeights
    """Of old rows. They are the whole row unless the note says what else is in it."""
    notes: tuple[str, ...]


@dataclass(frozen=True)
class NewRows:
    """Rows of the new vocabulary; ``head`` is absent where the model stays tied."""

    input: Float32[np.ndarray, "W D"]
    head: Float32[np.ndarray, "W D"] | None
    head_bias: Float32[np.ndarray, " W"] | None
    steps: tuple[Step, ...]
    """What gave each input row."""
    input_origins: Origins
    head_origins: Origins | None
