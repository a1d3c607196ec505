"""Initialisers that read text cut by the new tokenizer."""

from typing import Literal

from pydantic import Field

from tasks.embedding.config_base import HeadRule, InitialiserConfig
from tasks.embedding.config_learned import Hypernetwork
from tasks.embedding.config_outside import OutsideFiles
from tasks.shared.config import StageConfig


class TokenVectors(StageConfig):
    """Vectors of tokens from the company they keep, trained by fastText with one thread."""

    dimensions: int = Field(default=100, gt=0)
    """Width of the vectors."""
    epochs: int = Field(default=3, gt=0)
    """Passes over the text."""
    window_tokens: int = Field(default=5, gt=0)
    """Largest distance of two tokens that see each other."""
    min_count: int = Field(default=10, gt=0)
    """Occurrences a token needs to get a vector."""
    n_negatives: int = Field(default=10, gt=0)
    """Random tokens each true one is told from."""
    max_ngram_bytes: int = Field(default=6, ge=0)
    """Longest n-gram of a token's bytes that has a vector of its own, from 3 on; 0 for none."""
    n_buckets: int = Field(default=2_000_000, gt=0)
    """Hash buckets of n-grams; each takes 4 * dimensions bytes of memory."""


class Focus(InitialiserConfig):
    """New rows are sparse means of the rows of shared tokens that text uses alike."""

    method: Literal["focus"] = "focus"
    vectors: TokenVectors = TokenVectors()
    """How tokens of the new tokenizer get the vectors that are compared."""
    max_bytes: int = Field(default=100_000_000, gt=0)
    """Text the vectors are trained on, in whole documents."""
    seed: int = Field(default=0, ge=0)
    """Chooses these documents where the corpus has more."""


class Align(InitialiserConfig):
    """New rows are means of the old tokens that stand in their place in text."""

    method: Literal["align"] = "align"
    add_pieces: bool = False
    """Count a token's own pieces as one more reading, as often as its most frequent one."""
    max_bytes: int = Field(default=100_000_000, gt=0)
    """Text that is read, in whole documents."""
    seed: int = Field(default=0, ge=0)
    """Chooses these documents where the corpus has more."""


class TokAlign(InitialiserConfig):
    """Each new token takes the row of the old token that keeps the most similar company."""

    method: Literal["tokalign"] = "tokalign"
    vectors: TokenVectors = TokenVectors(
        dimensions=300, epochs=15, window_tokens=15, min_count=5, max_ngram_bytes=0
    )
    """How tokens of either tokenizer get the vectors that are compared."""
    n_pivots: int = Field(default=300, gt=0)
    """Shared tokens by whose company all others are described."""
    assignment: Literal["best", "one_to_one"] = "best"
    """``best``: the nearest old token, which may serve several new ones. ``one_to_one``: an old
    row serves once, rows of shared tokens are taken, and the nearer of two tokens gets it."""
    max_bytes: int = Field(default=100_000_000, gt=0)
    """Text the vectors are trained on, in whole documents."""
    seed: int = Field(default=0, ge=0)
    """Chooses the pivots, and the documents where the corpus has more."""


class TokenDistillation(InitialiserConfig):
    """Input rows trained until the frozen model reads new tokens as it read their pieces."""

    method: Literal["token_distillation"] = "token_distillation"
    head: HeadRule = "prefix_prior"
    start: Literal["mean_of_pieces", "composed"] | Hypernetwork = "composed"
    """Rows that training starts from. Head rows are made by its own rule, not by the start's."""
    n_steps: int = Field(default=100, ge=0)
    """Optimizer steps; 0 leaves the rows that training starts from."""
    windows_per_step: int = Field(default=8, gt=0)
    """Stretches of text in one step."""
    window_tokens: int = Field(default=256, gt=1)
    """Longest stretch, in tokens of whichever tokenizer needs more of them."""
    lr: float = Field(default=1e-2, gt=0.0)
    """Peak rate of Adam; falls to zero along half a cosine. The paper takes 1e-4, with thousands
    of positions a token; here most tokens are met a few times, and each time must count."""
    n_layers: int | None = Field(default=None, gt=0)
    """Layers of the model that run; time is nearly proportional to them. Null runs all."""
    compute_dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of matrix products; rows are trained in float32. ``auto``: bfloat16 where the hardware
    multiplies it."""
    seed: int = Field(default=0, ge=0)
    """Chooses documents and the order of their windows."""

    @property
    def outside_files(self) -> OutsideFiles | None:
        """What a network that it starts from reads."""
        return None if isinstance(self.start, str) else self.start.outside_files
