"""Initialisers that train a network to make rows."""

from typing import Annotated, Literal

from pydantic import Field

from tasks.embedding.config_base import HeadRule, InitialiserConfig
from tasks.embedding.config_outside import OutsideFiles, OutsidePath
from tasks.embedding.config_vectors import (
    VectorSource,
    WordTraining,
    outside_path,
    training_of,
)
from tasks.shared.config import PLACE, StageConfig


class NextToken(StageConfig):
    """Cross-entropy of the next token, as the frozen model predicts it."""

    kind: Literal["next_token"] = "next_token"
    n_negatives: int = Field(default=4096, gt=0)
    """Tokens that stand for all those the batch does not hold, drawn anew each step."""


class HiddenStates(StageConfig):
    """Distance of the frozen model's states over new tokens from those over old pieces."""

    kind: Literal["hidden_states"] = "hidden_states"
    n_body_layers: int | None = Field(default=None, gt=0)
    """Layers of the model that run; time is nearly proportional to them. Null runs all."""


class TrainedNetwork(StageConfig):
    """Fit the network to the source model's vocabulary, then train it on text through its body."""

    kind: Literal["trained"] = "trained"
    n_network_layers: int = Field(default=1, gt=0)
    """Transformer layers; ZeTT has 3."""
    hidden: int | None = Field(default=None, gt=0)
    """Width of these layers; null takes the model's, as ZeTT does."""
    max_pieces: int = Field(default=7, gt=0)
    """Pieces of a token that the network sees; of a longer one the first ones."""
    linear_share: float | None = Field(default=None, ge=0.0, le=1.0)
    """Share of a ridge regression on old tokens that training starts from; 0 starts from the mean
    of pieces. Null tries five on a little training text and takes the one with which the model
    predicts next tokens best."""
    ridge: float = Field(default=0.05, gt=0.0)
    """Ridge of that regression, as a multiple of the features' mean variance."""
    n_steps: int = Field(default=100, ge=0)
    """Optimizer steps; 0 leaves what training starts from."""
    windows_per_step: int = Field(default=8, gt=0)
    """Stretches of text in one step."""
    window_tokens: int = Field(default=128, gt=1)
    """Longest stretch, in tokens of whichever tokenizer needs more of them."""
    lr: float = Field(default=3e-4, gt=0.0)
    """Peak rate of AdamW. ZeTT takes 6e-5, for 190,000 steps."""
    loss: Annotated[NextToken | HiddenStates, Field(discriminator="kind")] = NextToken()
    """What text teaches."""
    rows_per_step: int = Field(default=64, gt=0)
    """Old tokens drawn beside the text of a step, whose rows are known."""
    auxiliary_weight: float = Field(default=0.5, ge=0.0)
    """Weight of the distance from known rows, beside the loss on text."""
    hidden_share: float = Field(default=0.1, ge=0.0, le=1.0)
    """Share of a batch's old merged tokens that are made from smaller pieces as if unknown."""
    min_merge_share: float = Field(default=0.5, ge=0.0, le=1.0)
    """Least share of the new merges that a sampled tokenizer has; 1 samples none."""
    compute_dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of matrix products; the network is trained in float32. ``auto``: bfloat16 where the
    hardware multiplies it."""


class NetworkFile(StageConfig):
    """Take a network that was trained before, for this model or another variant of its base."""

    kind: Literal["file"] = "file"
    path: Annotated[str, PLACE]
    """``network.safetensors`` of an embedding artifact, local or ``s3://``."""


class Hypernetwork(InitialiserConfig):
    """New rows by a network that reads the rows of a token's pieces.

    In the spirit of ZeTT (Minixhofer, Ponti and Vulic 2024).
    """

    method: Literal["hypernetwork"] = "hypernetwork"
    head: HeadRule = "prefix_prior"
    network: Annotated[TrainedNetwork | NetworkFile, Field(discriminator="kind")] = TrainedNetwork()
    """Where the network comes from."""
    seed: int = Field(default=0, ge=0)
    """Chooses its first weights, text, tokenizers and old tokens; of no use to a given one."""

    @property
    def outside_files(self) -> OutsideFiles | None:
        """A network that was trained before."""
        if not isinstance(self.network, NetworkFile):
            return None
        return OutsideFiles(paths=(OutsidePath(role="network", path=self.network.path),))


class HyperOfa(InitialiserConfig):
    """New rows by a network that reads the vectors of all words that hold a token.

    HYPEROFA (Ozeren, Liu and Schuetze 2025).
    """

    method: Literal["hyperofa"] = "hyperofa"
    vectors: VectorSource
    """Word vectors of all languages that matter, in one space."""
    rank: int | None = Field(default=None, gt=0)
    """Learn and make rows in the old rows' leading dimensions alone; all of them by default."""
    hidden: int = Field(default=800, gt=0)
    """Width of the LSTM in either direction."""
    dropout: float = Field(default=0.2, ge=0.0, lt=1.0)
    """Share of the head's hidden units that are left out in training."""
    max_words: int = Field(default=256, gt=0)
    """Words of a token that are read, the most frequent ones."""
    n_epochs: int = Field(default=300, gt=0)
    """Passes over the old tokens that are part of some word."""
    batch_tokens: int = Field(default=256, gt=1)
    """Old tokens in a step."""
    lr: float = Field(default=1e-4, gt=0.0)
    """Rate of Adam; 5 percent less after every ten epochs."""
    contrastive_weight: float = Field(default=0.1, ge=0.0, le=1.0)
    """Share of the contrastive loss; the rest is the distance of rows."""
    temperature: float = Field(default=0.25, gt=0.0)
    """Of the contrastive loss, on cosines within a batch."""
    seed: int = Field(default=0, ge=0)
    """Chooses the first weights, the order of tokens and what is left out."""

    @property
    def outside_files(self) -> OutsideFiles | None:
        """Vectors that are given."""
        paths = outside_path(self.vectors, "vectors")
        return OutsideFiles(paths=paths) if paths else None

    @property
    def word_trainings(self) -> tuple[WordTraining, ...]:
        """Vectors of both languages, unless they are given."""
        return training_of(self.vectors, "vectors", "source", "target")
