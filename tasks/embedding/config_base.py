"""What all initialisers share, and the prior that any of them can give its head."""

from typing import ClassVar, Literal

from pydantic import Field

from tasks.embedding.config_outside import OutsideFiles
from tasks.embedding.config_vectors import WordTraining
from tasks.shared.config import StageConfig

HeadRule = Literal["same", "untied", "prefix_prior", "first_piece"]
FallbackStep = Literal["mean_of_pieces", "normal", "mean", "error"]


class InitialiserConfig(StageConfig):
    """A way to make rows of tokens that the source model does not have."""

    needs_donor: ClassVar[bool] = False
    """Whether the run must name a donor, a second model that has the new tokenizer."""

    head: HeadRule = "same"
    """How the head's rows are made.

    ``same``: as the method makes them; a tied model stays tied. ``untied``: the same rows, but a
    tied head becomes a tensor of its own, so that training may part the two; nothing changes in a
    model that is untied already. ``prefix_prior``: the row of the token's first old piece, with
    the log of the token's share among all tokens that start with it; unties a tied model.
    ``first_piece``: that row without the prior.
    """

    @property
    def outside_files(self) -> OutsideFiles | None:
        """What it reads that lies outside the run."""
        return None

    @property
    def word_trainings(self) -> tuple[WordTraining, ...]:
        """Vectors of words that are trained before its rows are made."""
        return ()

    @property
    def needs_source_corpus(self) -> bool:
        """Whether the run must name text in the source model's language."""
        return any("source" in training.sides for training in self.word_trainings)


class PrefixPrior(StageConfig):
    """How often each token follows its first old piece, and what carries that into a head row."""

    seen_count: float = Field(default=0.5, gt=0.0)
    """Added to the count of a token that occurs in the corpus."""
    unseen_count: float = Field(default=0.05, gt=0.0)
    """Count of a token that does not occur in the corpus."""
    direction_ridge: float = Field(default=1e-3, gt=0.0)
    """Ridge of the constant direction, as a multiple of the hidden states' mean square."""
    direction_positions: int = Field(default=8192, gt=0)
    """Hidden states sampled to find the direction along which every hidden state agrees."""
    direction_window_tokens: int = Field(default=256, gt=1)
    """Length of the text windows those hidden states are read from."""
    max_direction_spread: float = Field(default=0.25, gt=0.0)
    """Stop if along that direction hidden states agree no better than 1 +- this."""
    seed: int = Field(default=0, ge=0)
    """Chooses the documents the hidden states are read from."""
