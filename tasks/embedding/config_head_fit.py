"""Head rows fitted to text, behind any initialiser."""

from typing import Literal

from pydantic import Field

from tasks.shared.config import StageConfig


class HeadFit(StageConfig):
    """Fit head rows to next tokens of text; body, input rows and all other head rows stay.

    With its states given, this is a logistic regression: convex, and cheap beside reading them.
    """

    n_positions: int = Field(default=65_536, gt=0)
    """Next tokens that are read. Their states lie in a temporary file (``TMPDIR``), 2,304 bytes a
    position of a model 576 wide."""
    window_tokens: int = Field(default=256, gt=1)
    """Longest stretch of text that is read at once."""
    n_passes: int = Field(default=4, gt=0)
    """How often each position is seen."""
    positions_per_step: int = Field(default=512, gt=0)
    """Positions of one optimizer step."""
    n_negatives: int = Field(default=4096, gt=0)
    """Tokens that stand for all those a step does not hold, drawn anew each step."""
    lr: float = Field(default=1e-3, gt=0.0)
    """Peak rate of Adam for single rows; falls to zero along half a cosine, as the other does."""
    lr_map: float | None = Field(default=3e-3, gt=0.0)
    """Peak rate of Adam for the linear map from input rows to head rows that all new tokens share,
    those that the text never has too; ``null``: none is learnt."""
    first_pieces: bool = True
    """Fit old tokens that new ones begin with too: they come next where none of those does now."""
    compute_dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of matrix products in the model; the regression is in float32. ``auto``: bfloat16 where the
    hardware multiplies it."""
    seed: int = Field(default=0, ge=0)
    """Chooses documents, their order and the negatives."""
