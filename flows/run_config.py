"""One whole run: one field a stage, read from one YAML file."""

import re
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, Field, ValidationError, model_validator

from infra.credentials import without_credentials
from tasks.corpus.config import CorpusConfig
from tasks.embedding.config import EmbeddingConfig
from tasks.evaluation.config import EvaluationConfig, ReportConfig
from tasks.model.config import ExportConfig, ModelConfig
from tasks.pretraining.config import PretrainingConfig, TokensConfig
from tasks.shared.config import StageConfig
from tasks.shared.errors import InputError
from tasks.tokenizer.config import (
    OutsideFiles,
    PretokensConfig,
    Pretrained,
    SuperwordBpe,
    TokenizerConfig,
    outside_files,
)


class RunConfigError(InputError):
    """A run file cannot be read, or a field in it is wrong."""


class ControlConfig(StageConfig):
    """The control arm: the source model with its old tokenizer, trained on the same bytes.

    It shows what part of a gain is due to more training, or to repair of a quantised source, and
    not to the tokenizer. Its rows are trained already, so that it has rates of its own; everything
    else is as in ``pretraining``.
    """

    lr_rows: float = Field(
        default=3e-4, ge=0, description="Peak learning rate of its input rows and its head."
    )
    lr_body: float = Field(default=1e-4, gt=0, description="Peak learning rate of everything else.")

    def pretraining(self, main: PretrainingConfig) -> PretrainingConfig:
        """The main arm's training with the control's rates."""
        rows = {"lr_input_rows": self.lr_rows, "lr_head": self.lr_rows}
        phases = tuple(
            phase.model_copy(
                update=rows | ({"lr_body": self.lr_body} if phase.trainable == "all" else {})
            )
            for phase in main.phases
        )
        # The source model has no new rows that a prior could hold.
        return main.model_copy(update={"phases": phases, "prior_regulariser": None})


class RunConfig(StageConfig):
    """Everything that decides what a run writes."""

    model: ModelConfig
    """The pretrained model to adapt."""
    corpus: CorpusConfig
    """The text it shall read well."""
    pretokens: PretokensConfig = PretokensConfig()
    """How text is cut into words, which are counted once."""
    tokenizer: TokenizerConfig
    """How the new tokenizer is made."""
    tokens: TokensConfig = TokensConfig()
    """The corpus as token ids."""
    donor: ModelConfig | None = None
    """A second model that has the new tokenizer, for initialisers that read its rows."""
    source_corpus: CorpusConfig | None = None
    """Text in the source model's language, for initialisers that learn word vectors from it."""
    embedding: EmbeddingConfig = EmbeddingConfig()
    """How rows of new tokens begin."""
    pretraining: PretrainingConfig | None = PretrainingConfig()
    """How the model goes on learning; ``null`` ends with the new rows, and takes encoders too."""
    export: ExportConfig = ExportConfig()
    """In what form it ships."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """What is measured on it."""
    report: ReportConfig = ReportConfig()
    """What is shown."""
    control: ControlConfig | None = None
    """Train a control arm too; ``{}`` takes its defaults."""

    @model_validator(mode="after")
    def _donor_where_it_is_read(self) -> "RunConfig":
        method = self.embedding.initialiser
        if method.needs_donor and self.donor is None:
            raise ValueError(
                f"embedding.initialiser {method.method} reads the rows of a model that has the new "
                "tokenizer; name that model under donor"
            )
        if self.donor is not None and not method.needs_donor:
            raise ValueError(
                f"a donor is named, and embedding.initialiser {method.method} reads none; take it "
                "out, or choose omp, interpolation or least_squares"
            )
        return self

    @model_validator(mode="after")
    def _source_corpus_where_it_is_read(self) -> "RunConfig":
        method = self.embedding.initialiser
        if method.needs_source_corpus and self.source_corpus is None:
            raise ValueError(
                f"embedding.initialiser {method.method} trains word vectors on text in the source "
                "model's language; name that text under source_corpus, or a file of it as the "
                "vectors' text"
            )
        if self.source_corpus is not None and not method.needs_source_corpus:
            raise ValueError(
                f"a source_corpus is named, and embedding.initialiser {method.method} reads none; "
                "take it out, or train source vectors on it with wechsel or ofa"
            )
        return self

    @model_validator(mode="after")
    def _training_where_it_is_needed(self) -> "RunConfig":
        if self.pretraining is None and self.control is not None:
            raise ValueError(
                "control trains the source model as pretraining trains the new one, and "
                "pretraining is null; leave control out"
            )
        if self.pretraining is None and self.export.dtype != "source":
            raise ValueError(
                f"export.dtype {self.export.dtype} is for trained weights, and pretraining is "
                "null, which leaves every tensor as it came; leave it out"
            )
        return self

    def counted_words(self) -> tuple[PretokensConfig, ...]:
        """The cuts of the text that the tokenizer is learnt from, in the order it takes them."""
        if isinstance(self.tokenizer, Pretrained):
            return ()
        more = (self.tokenizer.stretches,) if isinstance(self.tokenizer, SuperwordBpe) else ()
        return (self.pretokens, *more)

    def outside_files(self) -> tuple[OutsideFiles, ...]:
        """What the tokenizer is made of that lies outside, if anything."""
        files = outside_files(self.tokenizer)
        return () if files is None else (files,)

    @model_validator(mode="after")
    def _counts_words_for_something(self) -> "RunConfig":
        if isinstance(self.tokenizer, Pretrained) and "pretokens" in self.model_fields_set:
            raise ValueError(
                "pretokens is given, but a pretrained tokenizer is learnt from no words; leave "
                "pretokens out"
            )
        return self


class _EachKeyOnce(yaml.SafeLoader):
    """A key given twice is an error; YAML libraries let the last one win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if repeated := sorted({str(key) for key in keys if keys.count(key) > 1}):
            raise yaml.constructor.ConstructorError(
                None, None, f"{', '.join(repeated)} stands twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


Config = TypeVar("Config", bound=BaseModel)
_MEMBER_OF_UNION = re.compile(r"(function-(after|before|wrap|plain)|literal)\[")
_MAX_PROBLEMS = 20


def load_run_config(path: Path) -> RunConfig:
    """Read a run file.

    Raises:
        RunConfigError: one line that names the file, the field and what is wrong with it.
    """
    return load_config(path, RunConfig)


def load_config(path: Path, kind: type[Config]) -> Config:
    """Read a YAML file that holds one config.

    Raises:
        RunConfigError: one line that names the file, the field and what is wrong with it.
    """
    return check_config(read_values(path), kind, str(path))


def read_values(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds one mapping, whatever is in it.

    Raises:
        RunConfigError: one line that names the file and what is wrong with it.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_EachKeyOnce)
    except FileNotFoundError as error:
        raise RunConfigError(f"no run file {path}; configs/ holds examples.") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())
        raise RunConfigError(f"{path} cannot be read as YAML: {said}.") from error
    if not isinstance(values, dict):
        raise RunConfigError(
            f"{path} holds {type(values).__name__}, not a mapping of stages; see configs/."
        )
    return values


def check_config(values: Any, kind: type[Config], name: str) -> Config:
    """Make a config of plain values.

    Args:
        values: as a YAML file holds them.
        kind: what they describe.
        name: how a person knows them.

    Raises:
        RunConfigError: one line that names them, the field and what is wrong with it.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise RunConfigError(f"{name}: {describe_problems(error)}.") from error


def describe_problems(error: ValidationError) -> str:
    """Wrong fields with their paths in one line, the first twenty of them."""
    problems = error.errors(include_url=False)
    said = "; ".join(
        f"{_short(_path(problem['loc']), 200) or 'the run'}: "
        f"{_short(problem['msg'], 1000)} (got {_short(repr(problem['input']), 60)})"
        for problem in problems[:_MAX_PROBLEMS]
    )
    more = len(problems) - _MAX_PROBLEMS
    return f"{said}; and {more:,} more" if more > 0 else said


def _path(loc: tuple[int | str, ...]) -> str:
    """Where a field is, without pydantic's own names of what it may be."""
    return ".".join(str(part) for part in loc if not _MEMBER_OF_UNION.match(str(part)))


def _short(text: str, n_characters: int) -> str:
    text = " ".join(without_credentials(text).split())
    return text if len(text) <= n_characters else f"{text[: n_characters - 3]}..."
