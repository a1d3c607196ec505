"""Choices of the embedding stage."""

from typing import Annotated, Literal

from pydantic import Field

from tasks.shared.config import StageConfig


class MeanOfPieces(StageConfig):
    """Every new row, input and head, is the mean of its old pieces' rows. Keeps tied tied."""

    method: Literal["mean_of_pieces"] = "mean_of_pieces"


class Composed(StageConfig):
    """Input: mean of pieces mixed with merge regression. Head: first piece plus its prior.

    A tied model is untied, since the two sides get different rows.
    """

    method: Literal["composed"] = "composed"
    mean_weight: float = Field(default=0.5, ge=0.0, le=1.0)
    """Share of the mean of pieces in a new input row; the rest is merge regression."""
    merge_ridge: float = Field(default=0.01, gt=0.0)
    """Ridge of the merge regression, as a multiple of the features' mean variance."""
    direction_ridge: float = Field(default=1e-3, gt=0.0)
    """Ridge of the constant direction, as a multiple of the hidden states' mean square."""
    direction_positions: int = Field(default=8192, gt=0)
    """Hidden states sampled to find the direction along which every hidden state agrees."""
    direction_window_tokens: int = Field(default=256, gt=1)
    """Length of the text windows those hidden states are read from."""
    max_direction_spread: float = Field(default=0.25, gt=0.0)
    """Stop if along that direction hidden states agree no better than 1 +- this."""
    seen_count: float = Field(default=0.5, gt=0.0)
    """Added to the count of a token that occurs in the corpus."""
    unseen_count: float = Field(default=0.05, gt=0.0)
    """Count of a token that does not occur in the corpus."""
    seed: int = Field(default=0, ge=0)
    """Chooses the documents the hidden states are read from."""


class EmbeddingConfig(StageConfig):
    """Give every token of the new tokenizer its rows."""

    initialiser: Annotated[MeanOfPieces | Composed, Field(discriminator="method")] = Composed()
    """How rows of tokens are made that the source model does not have."""
    special_tokens: dict[str, str] = Field(default_factory=dict)
    """New special token -> old special token whose rows it takes, beyond role and equal text."""
    tool_tokens: Literal["description", "name"] = "description"
    """Whose words a tool token's rows are the mean of, where the source has no such token."""
    fallback: Literal["mean", "error"] = "error"
    """What to do with a token the source cannot cover: the mean of all old rows, or stop."""
