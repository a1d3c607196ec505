"""What an initialiser made for the tokens that need rows.

Dimensions: V = old vocabulary, K = tokens that need rows, D = model width.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float32

from tasks.embedding.row_weights import RowWeights
from tasks.embedding.rows import SourceRows


@dataclass(frozen=True)
class MadeNetwork:
    """A network that made rows and can make more."""

    tensors: Mapping[str, np.ndarray]
    shape: Mapping[str, int]


@dataclass(frozen=True)
class MadeRows:
    """Rows of the K tokens, in the order of their new ids."""

    input: Float32[np.ndarray, "K D"]
    head: Float32[np.ndarray, "K D"] | None
    """Absent where the method makes none: a tied head then takes the input rows, and a head of
    its own the mean of the tokens' pieces."""
    head_bias: Float32[np.ndarray, " K"] | None
    """Absent where the model has none, or where the method leaves it to the mean of pieces."""
    found: Bool[np.ndarray, " K"]
    """Tokens the method has something for; what stands in other rows is not read."""
    input_weights: RowWeights | None = None
    """Old rows in each input row, where it is a sum of them (or as far as it is)."""
    head_weights: RowWeights | None = None
    note: str | tuple[str, ...] = ""
    """What the weights leave out of a row, in words: of all rows, or of each."""
    losses: Float32[np.ndarray, " S"] | None = None
    """Loss before each of S steps, of methods that train."""
    measured: Mapping[str, int | float] = field(default_factory=dict[str, int | float])
    """Numbers for the stage's summary."""
    network: MadeNetwork | None = None
    """What was trained to make the rows, where it is of use for other tokenizers too."""

    @classmethod
    def nothing(cls, source: SourceRows) -> "MadeRows":
        """For a vocabulary in which no token needs rows: a reordered or a pruned one."""
        none_KD = np.zeros((0, source.input.shape[1]), np.float32)
        return cls(none_KD, None, None, np.zeros(0, bool))

    @classmethod
    def from_weights(
        cls,
        source: SourceRows,
        weights: RowWeights,
        head_weights: RowWeights | None = None,
        *,
        measured: Mapping[str, int | float] | None = None,
    ) -> "MadeRows":
        """Sum up old rows.

        Args:
            source: old rows.
            weights: of old rows in each new row.
            head_weights: the same for the head, where they differ.
            measured: numbers for the stage's summary.
        """
        of_head = weights if head_weights is None else head_weights
        needs_head = of_head is not weights or not source.tied
        bias_V = source.head_bias
        return cls(
            weights.rows(source.input),
            of_head.rows(source.head) if needs_head else None,
            None if bias_V is None else of_head.rows(bias_V[:, None])[:, 0],
            weights.found,
            weights,
            of_head,
            measured=measured or {},
        )
