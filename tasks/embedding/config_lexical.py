"""Choices of initialisers that know words: their vectors, their translations, their meaning."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tasks.embedding.config_base import InitialiserConfig
from tasks.embedding.config_outside import OutsideFiles, OutsidePath
from tasks.embedding.config_vectors import (
    TrainedVectors,
    VectorSource,
    WordTraining,
    outside_path,
    training_of,
)
from tasks.shared.config import PLACE, StageConfig
from tasks.shared.sources import Directory, HubRepository


class DictionaryFile(StageConfig):
    """A bilingual dictionary: a table with a tab, or dictd's .index with its .dict.dz beside."""

    path: Annotated[str, PLACE]
    """The file, local, ``s3://`` or ``deb:package/path``."""
    reverse: bool = False
    """Its first language is that of the new tokenizer."""


class Wechsel(InitialiserConfig):
    """Mean of the old tokens nearest in meaning, by word vectors of both languages.

    WECHSEL (Minixhofer et al. 2022).
    """

    method: Literal["wechsel"] = "wechsel"
    source_vectors: VectorSource
    """Word vectors of the source model's language."""
    target_vectors: VectorSource
    """Word vectors of the new tokenizer's language, of the same width."""
    dictionary: DictionaryFile | None = None
    """Brings both spaces together; leave it out where they are one space already."""
    n_neighbours: int = Field(default=10, gt=0)
    """Old tokens behind a new row."""
    temperature: float = Field(default=0.1, gt=0.0)
    """Of the softmax over cosines: the lower, the more the nearest counts."""

    @model_validator(mode="after")
    def _spaces_can_meet(self) -> "Wechsel":
        sides = (self.source_vectors, self.target_vectors)
        trained = [side for side in sides if isinstance(side, TrainedVectors)]
        if trained and self.dictionary is None:
            raise ValueError(
                "vectors that are trained here share no space with any other; name a dictionary, "
                "or take vectors of both languages from files of one space"
            )
        if len({side.dimensions for side in trained}) > 1:
            raise ValueError(
                f"source vectors have {trained[0].dimensions} dimensions and target vectors "
                f"{trained[1].dimensions}; both need the same"
            )
        return self

    @property
    def outside_files(self) -> OutsideFiles | None:
        """Vectors that are given, and the dictionary."""
        paths = (
            *outside_path(self.source_vectors, "source_vectors"),
            *outside_path(self.target_vectors, "target_vectors"),
        )
        if self.dictionary is not None:
            path = self.dictionary.path
            paths += (OutsidePath(role="dictionary", path=path, kind="dictionary"),)
        return OutsideFiles(paths=paths) if paths else None

    @property
    def word_trainings(self) -> tuple[WordTraining, ...]:
        """Vectors of either language that are not given."""
        return (
            *training_of(self.source_vectors, "source_vectors", "source"),
            *training_of(self.target_vectors, "target_vectors", "target"),
        )


class Ofa(InitialiserConfig):
    """Mean of the old tokens nearest in one multilingual space of words. OFA (Liu et al. 2024).

    Where tokens get their vectors by words, these are cut as they are and capitalised.
    """

    method: Literal["ofa"] = "ofa"
    vectors: VectorSource
    """Word vectors of all languages that matter, in one space. Trained ones share it only as far
    as the languages share words and n-grams."""
    rank: int | None = Field(default=None, gt=0)
    """Take the means in the old rows' leading dimensions alone; all of them by default."""
    n_neighbours: int = Field(default=10, gt=0)
    """Old tokens behind a new row."""
    temperature: float = Field(default=0.1, gt=0.0)
    """Of the softmax over cosines: the lower, the more the nearest counts."""

    @property
    def outside_files(self) -> OutsideFiles | None:
        """Vectors that are given."""
        paths = outside_path(self.vectors, "vectors")
        return OutsideFiles(paths=paths) if paths else None

    @property
    def word_trainings(self) -> tuple[WordTraining, ...]:
        """Vectors of both languages, unless they are given."""
        return training_of(self.vectors, "vectors", "source", "target")


class TranslatedLines(StageConfig):
    """Two text files that are translations of each other, line by line."""

    kind: Literal["lines"] = "lines"
    source: Annotated[str, PLACE]
    """In the source model's language, a sentence a line; local, ``s3://`` or
    ``deb:package/path``."""
    target: Annotated[str, PLACE]
    """Its translation."""


class Catalogues(StageConfig):
    """Compiled gettext catalogues (.mo), whose messages stand beside their translations."""

    kind: Literal["gettext"] = "gettext"
    paths: Annotated[tuple[str, ...], PLACE] = Field(min_length=1)
    """Files and globs (``**`` crosses folders), local, ``s3://`` or ``deb:package/glob`` (there
    ``*`` does); each must match something."""


ParallelText = Annotated[TranslatedLines | Catalogues, Field(discriminator="kind")]


class TransTokenizer(InitialiserConfig):
    """Mean of the old tokens that translate a token, by alignment of parallel text.

    Trans-Tokenization (Remy et al. 2024), with the alignment model of Dyer et al. (2013).
    """

    method: Literal["trans_tokenizer"] = "trans_tokenizer"
    parallel_texts: tuple[ParallelText, ...] = Field(min_length=1)
    """Sentences of the source model's language and their translations.

    A pair of which one sentence has more than 1,000 words (or tokens) is passed over and counted.
    """
    unit: Literal["words", "tokens"] = "words"
    """What is aligned. Links of words are shared out among their tokens."""
    n_iterations: int = Field(default=7, gt=0)
    """Rounds of expectation maximisation."""
    diagonal_tension: float = Field(default=4.0, ge=0.0)
    """How strongly words at like places in both sentences are preferred; 0 not at all."""
    null_probability: float = Field(default=0.08, ge=0.0, lt=1.0)
    """Share of the words that translate none."""
    min_count: int = Field(default=10, gt=0)
    """Pass over pairs that are linked less often, as chance."""
    smooth_unseen: bool = True
    """Give a token without links the translations of tokens it begins, or that it holds."""
    max_pairs: int = Field(default=40_000_000, gt=0)
    """Distinct pairs that may be seen in one sentence pair somewhere: 24 bytes of memory each."""

    @property
    def outside_files(self) -> OutsideFiles:
        """All parallel text, by its place in the list."""
        paths: list[OutsidePath] = []
        for number, text in enumerate(self.parallel_texts):
            role = parallel_role(number)
            if isinstance(text, TranslatedLines):
                paths.append(OutsidePath(role=f"{role}-source", path=text.source))
                paths.append(OutsidePath(role=f"{role}-target", path=text.target))
            else:
                for nth, path in enumerate(text.paths):
                    name = f"{role}-{nth:03d}"
                    paths.append(OutsidePath(role=name, path=path, kind="catalogues"))
        return OutsideFiles(paths=tuple(paths))


def parallel_role(number: int) -> str:
    """Begin of the names of a parallel text's files in the lock."""
    return f"parallel-{number:03d}"


class SourceModel(StageConfig):
    """The source model itself, its last hidden states averaged."""

    kind: Literal["source_model"]


class TokenAdapt(InitialiserConfig):
    """Pieces weighted by meaning and length, mixed with old tokens of like meaning.

    TokenAdapt (Sharthak et al. 2025).
    """

    method: Literal["tokenadapt"] = "tokenadapt"
    encoder: Annotated[Directory | HubRepository | SourceModel, Field(discriminator="kind")]
    """A sentence encoder whose token states are averaged, as transformers writes it; or, where
    there is none for the language, the source model, which was not trained to embed texts."""
    n_neighbours: int = Field(default=3, gt=0)
    """Old tokens behind the global part."""
    global_share: float = Field(default=0.3, ge=0.0, le=1.0)
    """Share of the global part in a row; the rest is from the pieces."""
    temperature: float = Field(default=0.3, gt=0.0)
    """Of the softmax over pieces and over similarities."""
    compute_dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the encoder's matrix products. ``auto``: bfloat16 where the hardware multiplies it."""

    @property
    def outside_files(self) -> OutsideFiles | None:
        """The encoder, unless it is the source model."""
        if isinstance(self.encoder, SourceModel):
            return None
        return OutsideFiles(encoder=self.encoder)
