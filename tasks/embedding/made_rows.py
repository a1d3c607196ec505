"""What an initialiser made for the tokens that need rows.

Dimensions: V = old vocabulary, K = tokens that need rows, D = model width.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float32

from tasks.embedding.row_weights import RowWeights, spread
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
    head_note: str | tuple[str, ...] | None = None
    """As ``note`` for head rows; absent where it is that."""
    donor_has: str = ""
    """Which tokens a donor has, in words, where it lacks some."""

    @classmethod
    def nothing(cls, source: SourceRows) -> "MadeRows":
        """For a vocabulary in which no token needs rows: a reordered or a pruned one."""
        none_KD = np.zeros((0, source.input.shape[1]), np.float32)
        return cls(none_KD, None, None, np.zeros(0, bool))

    def with_trained(
        self,
        input_KD: Float32[np.ndarray, "K D"],
        trained_K: Bool[np.ndarray, " K"],
        note: str,
        losses: Float32[np.ndarray, " S"],
        measured: Mapping[str, int | float],
    ) -> "MadeRows":
        """Say that training moved some input rows; the others, and the head, are as they were.

        Args:
            input_KD: the rows after training.
            trained_K: those that were moved.
            note: what they were trained for.
            losses: before each step.
            measured: further numbers for the stage's summary; losses give the first and the last.
        """
        weights = self.input_weights
        if weights is not None:
            left = np.flatnonzero(~trained_K)
            weights = spread(len(trained_K), [(left, weights.take(left))])
        notes = self.note if isinstance(self.note, tuple) else (self.note,) * len(trained_K)
        ends = (
            {"first_loss": float(losses[0]), "last_loss": float(losses[-1])} if len(losses) else {}
        )
        return replace(
            self,
            input=input_KD,
            input_weights=weights,
            note=tuple(note if new else old for old, new in zip(notes, trained_K, strict=True)),
            head_note=self.note if self.head_note is None else self.head_note,
            losses=losses,
            measured={"n_trained": int(trained_K.sum()), **ends, **measured},
        )

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
