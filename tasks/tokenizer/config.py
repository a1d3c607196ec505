"""Choices of the tokenizer stage."""

from typing import Annotated, Literal

from pydantic import Field

from tasks.shared.config import StageConfig


class _TrainedOnText(StageConfig):
    """What every trained tokenizer chooses."""

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
    train_bytes: int | None = Field(
        default=200_000_000,
        gt=0,
        description="Text to train on, taken evenly over the corpus and held in memory; null: all.",
    )
    report_bytes: int = Field(
        default=1_000_000, gt=0, description="Held-out text on which bytes per token are counted."
    )


class Extend(_TrainedOnText):
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


class Bpe(_TrainedOnText):
    """A new byte-level BPE; special tokens and chat template come from the source."""

    method: Literal["bpe"] = "bpe"
    vocabulary_size: int = Field(
        default=16384, gt=256, description="Tokens in all: 256 bytes, special tokens, merges."
    )
    pretokenizer: Literal["source", "gpt2", "gpt4", "llama3"] = Field(
        default="source",
        description="Regex that cuts text into words before merges; source: the model's.",
    )
    digits: Literal["source", "individual", "groups_of_3", "none"] = Field(
        default="source",
        description="How numbers are cut: as the source does, one by one, in threes, or not.",
    )


TokenizerConfig = Annotated[Extend | Bpe, Field(discriminator="method")]
"""Which tokenizer the model gets."""
