"""Where initialisers that know words get the words' vectors from."""

from typing import Annotated, Literal

from pydantic import Field

from tasks.embedding.config_outside import OutsideFiles, OutsidePath
from tasks.shared.config import PLACE, StageConfig

TokenVectorRule = Literal["ngrams", "words"]
Side = Literal["source", "target"]
"""The source model's tokenizer and language, or the new tokenizer's."""


class WordVectorFile(StageConfig):
    """Vectors of whole words, in word2vec's text (.vec, .txt) or binary (.bin) form."""

    kind: Literal["words"] = "words"
    path: Annotated[str, PLACE]
    """The file, local, ``s3://`` or ``deb:package/path``; words in it are sorted by falling
    frequency."""
    max_words: int | None = Field(default=None, gt=0)
    """Use no more words than these first ones."""


class FastTextFile(StageConfig):
    """A fastText model (.bin), which has a vector for any string by its character n-grams."""

    kind: Literal["fasttext"] = "fasttext"
    path: Annotated[str, PLACE]
    """The file, not quantised; local, ``s3://`` or ``deb:package/path``."""
    max_words: int | None = Field(default=None, gt=0)
    """Use no more words than the most frequent ones, for the alignment of spaces and for words."""
    by: TokenVectorRule = "ngrams"
    """Token vectors from the token's own n-grams, or from the words that hold the token."""


class TrainedVectors(StageConfig):
    """A fastText model trained on text, with one thread, so that it is the same every time."""

    kind: Literal["trained"] = "trained"
    text: Annotated[str | None, PLACE] = None
    """A text file, local, ``s3://`` or ``deb:package/path``. None takes the run's own text: its
    ``corpus`` for the new tokenizer's language, its ``source_corpus`` for the source model's, and
    both for vectors of all languages."""
    max_bytes: int = Field(default=100_000_000, gt=0)
    """Text that is read: whole documents of a corpus, or the first lines of a file."""
    seed: int = Field(default=0, ge=0)
    """Chooses these documents where a corpus has more."""
    dimensions: int = Field(default=100, gt=0)
    """Width of the vectors."""
    epochs: int = Field(default=5, gt=0)
    """Passes over the text."""
    window_words: int = Field(default=5, gt=0)
    """Largest distance of two words that see each other."""
    min_count: int = Field(default=5, gt=0)
    """Occurrences a word needs to get a vector."""
    n_negatives: int = Field(default=10, gt=0)
    """Random words each true one is told from."""
    max_ngram_characters: int = Field(default=6, ge=3)
    """Longest n-gram of a word's characters that has a vector of its own, from 3 on."""
    n_buckets: int = Field(default=200_000, gt=0)
    """Hash buckets of n-grams; each takes 4 * dimensions bytes of memory."""
    max_words: int | None = Field(default=None, gt=0)
    """Use no more words than the most frequent ones, for the alignment of spaces and for words."""
    by: TokenVectorRule = "ngrams"
    """Token vectors from the token's own n-grams, or from the words that hold the token."""


VectorSource = Annotated[
    WordVectorFile | FastTextFile | TrainedVectors, Field(discriminator="kind")
]


class WordTraining(StageConfig):
    """Vectors to be trained: the config of a stage, which rows made in several ways share."""

    role: str
    """What they are to the initialiser."""
    vectors: TrainedVectors
    """How they are trained; what is read from them later stands at its default."""
    sides: tuple[Side, ...]
    """Languages of the run whose text they are trained on; none where they have a file."""

    @property
    def outside_files(self) -> OutsideFiles | None:
        """The file they are trained on."""
        if self.vectors.text is None:
            return None
        return OutsideFiles(paths=(OutsidePath(role=self.role, path=self.vectors.text),))


def outside_path(vectors: VectorSource, role: str) -> tuple[OutsidePath, ...]:
    """The file that vectors are read from; empty where they are trained."""
    if isinstance(vectors, TrainedVectors):
        return ()
    return (OutsidePath(role=role, path=vectors.path),)


def training_of(vectors: VectorSource, role: str, *sides: Side) -> tuple[WordTraining, ...]:
    """The stage that trains vectors, on text of these languages; empty where a file has them."""
    if not isinstance(vectors, TrainedVectors):
        return ()
    as_read = ("max_words", "by")  # what the training does not depend on
    defaults = {name: TrainedVectors.model_fields[name].default for name in as_read}
    sides = () if vectors.text else sides
    return (WordTraining(role=role, vectors=vectors.model_copy(update=defaults), sides=sides),)
