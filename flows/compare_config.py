"""One comparison: a grid of tokenizers and initialisers, read from one YAML file."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import Field

from flows.run_config import ControlConfig, RunConfig
from tasks.corpus.config import CorpusConfig
from tasks.embedding.config import EmbeddingConfig
from tasks.evaluation.config import Contestant, EvaluationConfig
from tasks.model.config import ExportConfig, ModelConfig
from tasks.pretraining.config import PretrainingConfig, TokensConfig
from tasks.shared.config import StageConfig
from tasks.tokenizer.config import PretokensConfig, TokenizerConfig

Choice = TypeVar("Choice", bound=StageConfig)


class TokenizerChoice(StageConfig):
    """One tokenizer of the grid."""

    pretokens: PretokensConfig = PretokensConfig()
    """How text is cut into words, which are counted once."""
    tokenizer: TokenizerConfig
    """How it is made."""


@dataclass(frozen=True)
class Cell:
    """One way through the pipeline."""

    tokenizer: str
    initialiser: str
    seed: int
    run: RunConfig

    def contestant(self, *, is_trained: bool) -> Contestant:
        """How the leaderboard names its model."""
        return Contestant(
            name=f"{self.tokenizer} {self.initialiser} {self.seed}"
            + ("" if is_trained else " untrained"),
            kind="swapped",
            tokenizer=self.tokenizer,
            initialiser=self.initialiser,
            seed=self.seed,
            is_trained=is_trained,
        )


class CompareConfig(StageConfig):
    """Everything that decides what a comparison writes."""

    model: ModelConfig
    """The pretrained model that all begin from."""
    corpus: CorpusConfig
    """The text they shall read well."""
    tokenizers: dict[str, TokenizerChoice] = Field(min_length=1)
    """By name; every one is tried with every initialiser."""
    initialisers: dict[str, EmbeddingConfig] = Field(min_length=1)
    """By name."""
    donor: ModelConfig | None = None
    """A second model that has the new tokenizers, for initialisers that read its rows."""
    source_corpus: CorpusConfig | None = None
    """Text in the source model's language, for initialisers that learn word vectors from it."""
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    """Of training, and of initialisers that draw at random."""
    tokens: TokensConfig = TokensConfig()
    """The corpus as token ids."""
    pretraining: PretrainingConfig | None = PretrainingConfig()
    """How every model goes on learning; ``null`` compares the models as initialised alone."""
    control: ControlConfig = ControlConfig()
    """Rates of the controls, which are trained wherever the others are."""
    export: ExportConfig = ExportConfig()
    """In what form models are stored."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """What is measured on each."""

    def cells(self, tokenizer: str) -> Iterator[Cell]:
        """All ways with one tokenizer, initialisers in the order of the file."""
        for name, embedding in self.initialisers.items():
            for seed in self.seeds:
                yield Cell(tokenizer, name, seed, self.run_of(tokenizer, embedding, seed))

    def run_of(self, tokenizer: str, embedding: EmbeddingConfig, seed: int) -> RunConfig:
        """The run that a cell stands for."""
        choice, method = self.tokenizers[tokenizer], embedding.initialiser
        return RunConfig(
            model=self.model,
            corpus=self.corpus,
            pretokens=choice.pretokens,
            tokenizer=choice.tokenizer,
            tokens=self.tokens,
            donor=self.donor if method.needs_donor else None,
            source_corpus=self.source_corpus if method.needs_source_corpus else None,
            embedding=_seeded(embedding, seed),
            pretraining=self.training(seed),
            export=self.export,
            evaluation=self.evaluation,
        )

    def training(self, seed: int) -> PretrainingConfig:
        """The training of one seed."""
        training = self.pretraining or PretrainingConfig()
        return training.model_copy(update={"seed": seed})


def _seeded(embedding: EmbeddingConfig, seed: int) -> EmbeddingConfig:
    """The same with a seed for all that is drawn at random."""
    method = embedding.initialiser
    drawn: dict[str, Any] = {"initialiser": _reseeded(method, seed)}
    if method.head == "prefix_prior":
        drawn["prefix_prior"] = embedding.prefix_prior.model_copy(update={"seed": seed})
    if embedding.head_fit is not None:
        drawn["head_fit"] = embedding.head_fit.model_copy(update={"seed": seed})
    if "normal" in embedding.fallback:
        drawn["fallback_seed"] = seed
    return embedding.model_copy(update=drawn)


def _reseeded(choice: Choice, seed: int) -> Choice:
    """The same with a seed wherever one is, also in what it holds: a start, vectors to train."""
    update = dict[str, Any]()
    for name in type(choice).model_fields:
        part = getattr(choice, name)
        if name == "seed":
            update[name] = seed
        elif isinstance(part, StageConfig):
            update[name] = _reseeded(part, seed)
    return choice.model_copy(update=update)
