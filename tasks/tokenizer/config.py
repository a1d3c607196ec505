"""Choices of the two tokenizer stages: counting pre-tokens, and learning a vocabulary."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from tasks.shared.config import StageConfig
from tasks.tokenizer.term_presets import LeadingSpace, PresetName

Digits = Literal["individual", "groups_of_3", "none"]


class SourceWords(StageConfig):
    """Words as the source model's own pre-tokenizer cuts them."""

    rule: Literal["source"] = "source"
    digits: Literal["source"] | Digits = Field(
        default="source",
        description="How numbers are cut: as the source does, one by one, in threes, or not.",
    )


class PatternWords(StageConfig):
    """Words by a published regex."""

    rule: Literal["gpt2", "gpt4", "o200k", "llama3", "punct"]
    digits: Literal["source"] | Digits = Field(
        default="source",
        description="How numbers are cut: as the source does, one by one, in threes, or not.",
    )


class CustomWords(StageConfig):
    """Words by a regex of one's own; text between matches is a word too."""

    rule: Literal["custom"]
    regex: str = Field(min_length=1, description="In the dialect of the tokenizers library.")


class Stretches(StageConfig):
    """Stretches of several words, between numbers, runs of punctuation and runs of spaces."""

    rule: Literal["stretches"] = "stretches"
    digits: Literal["source"] | Digits = Field(
        default="source",
        description="How numbers are cut: as the source does, one by one, in threes, or not.",
    )


WordsConfig = Annotated[
    SourceWords | PatternWords | CustomWords | Stretches, Field(discriminator="rule")
]


class PretokensConfig(StageConfig):
    """Count the words of the corpus, once for all vocabularies learnt from it."""

    words: WordsConfig = Field(
        default=SourceWords(), description="What cuts text into words, in training and in use."
    )
    max_pretoken_bytes: int = Field(
        default=256, ge=1, description="Longer words are left out and counted."
    )


class _Described(StageConfig):
    """What every tokenizer chooses."""

    report_bytes: int = Field(
        default=1_000_000, gt=0, description="Held-out text on which the tokenizer is measured."
    )
    exports: tuple[Literal["tiktoken", "sentencepiece"], ...] = Field(
        default=(),
        description="Other forms to write beside tokenizer.json; an error where one cannot say "
        "what the tokenizer does.",
    )


class TermsConfig(StageConfig):
    """Terms that must be one token each, whatever the text says."""

    texts: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(), description="Terms as they are written."
    )
    presets: tuple[PresetName, ...] = Field(
        default=(),
        description="Lists of terms made by rule, after those of KL3M; terms that the rule for "
        "words cuts are left out and counted.",
    )
    leading_space: LeadingSpace = Field(
        default="both",
        description="Whether a term is one token at a text's start, behind a space, or both.",
    )


class _Learnt(_Described):
    """What every tokenizer chooses that is learnt from text."""

    min_frequency: int = Field(
        default=2,
        ge=1,
        description="How often a pair must occur in the text before it may be merged.",
    )
    max_token_bytes: int = Field(
        default=48,
        ge=2,
        description="No new token is longer: ruled lines and tables stay out.",
    )
    blocked: str | None = Field(
        default=None,
        min_length=1,
        description="Regex over a token's bytes; what it is found in is never merged.",
    )
    source_weights: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default={},
        description="Counts of the corpus source of that name are multiplied; 1 where none is "
        "given.",
    )
    required: TermsConfig | None = Field(
        default=None,
        description="Terms that become one token each, by merges behind the learnt ones, within "
        "the size asked for.",
    )

    @field_validator("blocked")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        try:
            re.compile((value or "").encode())
        except re.error as error:
            raise ValueError(f"is no regular expression ({error})") from None
        return value


class Extend(_Learnt):
    """Continue the source tokenizer's own merges; every old token keeps its id."""

    method: Literal["extend"] = "extend"
    n_new_tokens: int = Field(default=8192, gt=0, description="Tokens added after the old ones.")
    add_missing_bytes: bool = Field(
        default=False,
        description=(
            "Spend new tokens on byte values that the source tokenizer drops without a word. "
            "No old piece spells them, so the embedding stage needs a fallback for their rows."
        ),
    )


class Bpe(_Learnt):
    """A new byte-level BPE; special tokens and chat template come from the source."""

    method: Literal["bpe"] = "bpe"
    vocabulary_size: int = Field(
        default=16384, gt=256, description="Tokens in all: 256 bytes, special tokens, merges."
    )


class ScaffoldBpe(_Learnt):
    """A new byte-level BPE whose slots go to tokens that text uses, not to steps on the way.

    Scaffold tokens still take part in merging and so keep ids, behind all others.
    """

    method: Literal["scaffold_bpe"] = "scaffold_bpe"
    vocabulary_size: int = Field(
        default=16384,
        gt=256,
        description="Tokens in all without scaffolds: 256 bytes, special tokens, others.",
    )
    encoding: Literal["plain", "exact"] = Field(
        default="plain",
        description="What becomes of scaffold tokens left in a text. plain: they stay and have "
        "rows, and the tokenizer is plain files that any server loads. exact: the method as "
        "published; the model has no rows for them and is trained without, and the folder needs "
        "its own tokenizer class, which transformers runs with trust_remote_code=True alone.",
    )

    @model_validator(mode="after")
    def _other_forms_are_plain(self) -> "ScaffoldBpe":
        if self.encoding == "exact" and self.exports:
            raise ValueError(
                f"exports {', '.join(self.exports)} cannot say encoding: exact; leave them out, or "
                "choose encoding: plain"
            )
        return self


class SuperwordBpe(_Learnt):
    """A new byte-level BPE that goes on across spaces, to tokens of several words (SuperBPE)."""

    method: Literal["superword_bpe"] = "superword_bpe"
    vocabulary_size: int = Field(
        default=16384, gt=256, description="Tokens in all: 256 bytes, special tokens, merges."
    )
    transition_size: int = Field(
        default=13_000,
        gt=256,
        description="Tokens at which learning goes on across spaces; the authors took 70 to 90 % "
        "of the vocabulary.",
    )
    max_words: int = Field(default=4, ge=1, description="Most words in a token.")
    stretches: PretokensConfig = Field(
        default=PretokensConfig(words=Stretches(), max_pretoken_bytes=2048),
        description="The second cut of the text. Memory grows with all different stretches.",
    )


class CharacterBpe(_Learnt):
    """A small vocabulary of very short tokens, for correction of spelling and scans (KL3M)."""

    method: Literal["character_bpe"] = "character_bpe"
    vocabulary_size: int = Field(
        default=4096, gt=256, description="Tokens in all: 256 bytes, special tokens, merges."
    )
    max_token_bytes: int = Field(default=3, ge=2, le=8, description="No token is longer.")


class Bytes(_Described):
    """No merges: the 256 bytes and the special tokens, the token-free target."""

    method: Literal["bytes"] = "bytes"


TokenizerConfig = Annotated[
    Extend | Bpe | ScaffoldBpe | SuperwordBpe | CharacterBpe | Bytes,
    Field(discriminator="method"),
]
"""Which tokenizer the model gets."""
