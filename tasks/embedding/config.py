"""Choices of the embedding stage."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tasks.embedding.config_base import FallbackStep, PrefixPrior
from tasks.embedding.config_donor import Interpolation, LeastSquares, Omp
from tasks.embedding.config_head_fit import HeadFit
from tasks.embedding.config_learned import Hypernetwork, HyperOfa
from tasks.embedding.config_lexical import Ofa, TokenAdapt, TransTokenizer, Wechsel
from tasks.embedding.config_prealign import PreAlign
from tasks.embedding.config_source import (
    Composed,
    Mean,
    MeanOfPieces,
    MergeRegression,
    MergeTree,
    MultivariateNormal,
    Normal,
)
from tasks.embedding.config_text import Align, Focus, TokAlign, TokenDistillation
from tasks.shared.config import StageConfig

Initialiser = Annotated[
    Mean
    | Normal
    | MultivariateNormal
    | MeanOfPieces
    | MergeTree
    | MergeRegression
    | Composed
    | Focus
    | Align
    | TokAlign
    | TokenDistillation
    | Omp
    | Interpolation
    | LeastSquares
    | Wechsel
    | Ofa
    | TransTokenizer
    | TokenAdapt
    | Hypernetwork
    | HyperOfa
    | PreAlign,
    Field(discriminator="method"),
]


class EmbeddingConfig(StageConfig):
    """Give every token of the new tokenizer its rows."""

    initialiser: Initialiser = Composed()
    """How rows of tokens are made that the source model does not have."""
    prefix_prior: PrefixPrior = PrefixPrior()
    """Strengths of the head rule ``prefix_prior``, where the initialiser's head is made by it."""
    head_fit: HeadFit | None = None
    """Fit the head rows of new tokens to text after they were made; needs a head of its own. Null
    leaves them as the head rule makes them."""
    special_tokens: dict[str, str] = Field(default_factory=dict)
    """New special token -> old special token whose rows it takes, beyond role and equal text."""
    tool_tokens: Literal["description", "name"] = "description"
    """Whose words a tool token's rows are the mean of, where the source has no such token."""
    type_share: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the mean row of a term's semantic type in the row of a new required term. Types are
    the tokenizer's, of term lists that name them; head rows of first pieces stay as they are."""
    fallback: tuple[FallbackStep, ...] = Field(default=("error",), min_length=1)
    """What to try in turn for a token that the initialiser has nothing for: the mean of its old
    pieces, a draw from the old rows' normal distribution, the mean of all old rows, or stop."""
    fallback_seed: int = Field(default=0, ge=0)
    """Chooses the draw of fallback ``normal``."""

    @model_validator(mode="after")
    def _fallback_ends(self) -> "EmbeddingConfig":
        """Only the mean of pieces can leave a token without rows, so only it may be followed."""
        *before, last = self.fallback
        if last == "mean_of_pieces" or any(step != "mean_of_pieces" for step in before):
            raise ValueError(
                f"fallback {list(self.fallback)}: a chain ends with normal, mean or error, and "
                "only mean_of_pieces can stand before, since every other step covers all tokens"
            )
        if len(before) > 1:
            raise ValueError(f"fallback {list(self.fallback)} names a step twice")
        return self
