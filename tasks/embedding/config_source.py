"""Initialisers that need nothing but the source model and the two tokenizers."""

from typing import Literal

from pydantic import Field

from tasks.embedding.config_base import HeadRule, InitialiserConfig


class Mean(InitialiserConfig):
    """Every new row is the mean of all old rows: the plainest start, for comparison."""

    method: Literal["mean"] = "mean"


class Normal(InitialiserConfig):
    """New rows are drawn from a normal distribution, each dimension by itself."""

    method: Literal["normal"] = "normal"
    seed: int = Field(default=0, ge=0)
    """Chooses the draw."""


class MultivariateNormal(InitialiserConfig):
    """New rows are drawn from a normal distribution with the old rows' full covariance."""

    method: Literal["multivariate_normal"] = "multivariate_normal"
    covariance_scale: float = Field(default=1.0, ge=0.0)
    """Multiple of the covariance; transformers' own resizing takes 1e-9, close to the mean."""
    seed: int = Field(default=0, ge=0)
    """Chooses the draw."""


class MeanOfPieces(InitialiserConfig):
    """Every new row is a weighted mean of its old pieces' rows."""

    method: Literal["mean_of_pieces"] = "mean_of_pieces"
    weighting: Literal["uniform", "by_length", "geometric", "exponential"] = "uniform"
    """``uniform``: all alike. ``by_length``: by the pieces' length in bytes. ``geometric``: input
    all alike, head 1, 1/2, 1/4 from the first piece. ``exponential``: input exp(2 i), head
    exp(-2 i) for the i-th piece. A tied model that stays tied takes the input's weights."""


class MergeTree(InitialiserConfig):
    """Every new row is the mean of its two parts, down the new tokenizer's merges to old tokens."""

    method: Literal["merge_tree"] = "merge_tree"


class MergeRegression(InitialiserConfig):
    """New rows are composed along merges by a linear map that old merges teach."""

    method: Literal["merge_regression"] = "merge_regression"
    merge_ridge: float = Field(default=0.01, gt=0.0)
    """Ridge of the merge regression, as a multiple of the features' mean variance."""
    count_power: float = Field(default=0.75, ge=0.0)
    """An old merge weighs its token's occurrences in the corpus as the new tokenizer cuts it, and
    a half, to this power; 0 weighs all alike. Tokens that the new vocabulary lacks count as 0."""


class Composed(InitialiserConfig):
    """Mean of pieces mixed with merge regression; the head takes first pieces and their prior."""

    method: Literal["composed"] = "composed"
    head: HeadRule = "prefix_prior"
    mean_weight: float = Field(default=0.3, ge=0.0, le=1.0)
    """Share of the mean of pieces in a new row; the rest is merge regression."""
    merge_ridge: float = Field(default=0.01, gt=0.0)
    """Ridge of the merge regression, as a multiple of the features' mean variance."""
    count_power: float = Field(default=0.75, ge=0.0)
    """An old merge weighs its token's occurrences in the corpus as the new tokenizer cuts it, and
    a half, to this power; 0 weighs all alike. Tokens that the new vocabulary lacks count as 0."""
