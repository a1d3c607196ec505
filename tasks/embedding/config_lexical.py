"""Choices of initialisers that know words: their vectors, their translations, their meaning."""

from typing import Annotated, Literal

from pydantic import Field

from tasks.embedding.config_base import InitialiserConfig
from tasks.shared.config import PLACE, StageConfig


class WordVectorFile(StageConfig):
    """Vectors of whole words, in word2vec's text (.vec, .txt) or binary (.bin) form."""

    kind: Literal["words"] = "words"
    path: Annotated[str, PLACE]
    """The file; words in it are sorted by falling frequency."""
    max_words: int | None = Field(default=None, gt=0)
    """Use no more words than these first ones."""


class FastTextFile(StageConfig):
    """A fastText model (.bin), which has a vector for any string by its character n-grams."""

    kind: Literal["fasttext"] = "fasttext"
    path: Annotated[str, PLACE]
    """The file, not quantised."""
    max_words: int | None = Field(default=None, gt=0)
    """Use no more words than the most frequent ones, for the alignment of spaces and for words."""
    by: Literal["ngrams", "words"] = "ngrams"
    """Token vectors from the token's own n-grams, or from the words that hold the token."""


VectorSource = Annotated[WordVectorFile | FastTextFile, Field(discriminator="kind")]


class DictionaryFile(StageConfig):
    """A bilingual dictionary: a table with a tab, or dictd's .index with its .dict.dz beside."""

    path: Annotated[str, PLACE]
    """The file."""
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


class Ofa(InitialiserConfig):
    """Mean of the old tokens nearest in one multilingual space of words. OFA (Liu et al. 2024)."""

    method: Literal["ofa"] = "ofa"
    vectors: VectorSource
    """Word vectors of all languages that matter, in one space."""
    rank: int | None = Field(default=None, gt=0)
    """Take the means in the old rows' leading dimensions alone; all of them by default."""
    n_neighbours: int = Field(default=10, gt=0)
    """Old tokens behind a new row."""
    temperature: float = Field(default=0.1, gt=0.0)
    """Of the softmax over cosines: the lower, the more the nearest counts."""


class TransTokenizer(InitialiserConfig):
    """Mean of the old tokens that translate a token, by alignment of parallel text.

    Trans-Tokenization (Remy et al. 2024), with the alignment model of Dyer et al. (2013).
    """

    method: Literal["trans_tokenizer"] = "trans_tokenizer"
    source_text: Annotated[str, PLACE]
    """Text in the source model's language, a sentence a line."""
    target_text: Annotated[str, PLACE]
    """Its translation, line by line."""
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


class TokenAdapt(InitialiserConfig):
    """Pieces weighted by meaning and length, mixed with old tokens of like meaning.

    TokenAdapt (Sharthak et al. 2025).
    """

    method: Literal["tokenadapt"] = "tokenadapt"
    encoder: Annotated[str, PLACE]
    """Folder of a sentence encoder whose token states are averaged."""
    n_neighbours: int = Field(default=3, gt=0)
    """Old tokens behind the global part."""
    global_share: float = Field(default=0.3, ge=0.0, le=1.0)
    """Share of the global part in a row; the rest is from the pieces."""
    temperature: float = Field(default=0.3, gt=0.0)
    """Of the softmax over pieces and over similarities."""
