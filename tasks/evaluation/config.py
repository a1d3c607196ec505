"""Choices of the evaluation: what is measured, and how surely."""

from typing import Literal

from pydantic import Field

from tasks.shared.config import StageConfig


class GenerationConfig(StageConfig):
    """The short continuations a person reads, and the generation speed taken from them."""

    prompts: tuple[str, ...] = Field(
        default=(),
        description="Openings to continue. None given: the first words of held-out documents, the "
        "corpus' own before those of other suites.",
    )
    n_prompts: int = Field(
        default=3,
        ge=0,
        description="How many held-out openings stand in for prompts; 0 generates nothing.",
    )
    prompt_characters: int = Field(
        default=80, ge=8, description="Length of such an opening, about."
    )
    new_characters: int = Field(
        default=160, ge=1, description="Length of a continuation, at least."
    )
    temperature: float = Field(
        default=0.7, ge=0, description="0 takes the likeliest token each time."
    )
    top_p: float = Field(default=0.9, gt=0, le=1, description="Sample from this much of the mass.")


class EvaluationConfig(StageConfig):
    """Measure one model on the held-out texts of a corpus."""

    document_bytes: int = Field(
        default=2048,
        ge=16,
        description="Longer documents are cut into pieces of this size. Must fit the context at "
        "one token a byte, so that both tokenizers see the same text whole.",
    )
    suite_bytes: int = Field(
        default=120_000,
        ge=1,
        description="About how much text of each suite is scored: the first piece of every "
        "document in hash order, then second pieces, and so on.",
    )
    compute_dtype: Literal["auto", "stored"] = Field(
        default="auto",
        description="stored: compute in the dtype the model ships in. auto: the same where the "
        "hardware multiplies it, else its weights, as they ship, are computed with in float32.",
    )
    generation: GenerationConfig = GenerationConfig()
    n_resamples: int = Field(
        default=2000, ge=100, description="Bootstrap resamples of documents behind each interval."
    )
    confidence: float = Field(default=0.95, gt=0, lt=1, description="Mass of the intervals.")
    seed: int = Field(default=0, description="Of sampling in generation and of the bootstrap.")


class ReportConfig(StageConfig):
    """Compare the measured models and show how they came about."""

    n_tokens_listed: int = Field(
        default=24, ge=1, description="Length of the lists of most and least used new tokens."
    )
    n_lineages: int = Field(
        default=12, ge=0, description="How many new rows are explained piece by piece."
    )
    paragraph_characters: int = Field(
        default=420, ge=40, description="Length of the text shown as both tokenizers cut it."
    )
    n_resamples: int = Field(
        default=2000, ge=100, description="Bootstrap resamples behind the paired differences."
    )
    confidence: float = Field(default=0.95, gt=0, lt=1, description="Mass of the intervals.")
    seed: int = Field(default=0, description="Of the bootstrap.")


class Contestant(StageConfig):
    """Who a line of the leaderboard is about."""

    name: str
    kind: Literal["source", "swapped", "control_bytes", "control_flops"]
    """Controls are the source model trained on with its old tokenizer: on the same bytes, or for
    the same floating-point operations."""
    tokenizer: str | None = None
    """Name of the new tokenizer; of a control of equal FLOPs, the one whose training it equals."""
    initialiser: str | None = None
    seed: int = 0
    is_trained: bool = False


class LeaderboardConfig(StageConfig):
    """Compare many measured models; filled in by the flow that made them."""

    contestants: tuple[Contestant, ...]
    """In the order of the measures that the stage is given."""
    n_resamples: int = Field(
        default=2000, ge=100, description="Bootstrap resamples behind the paired differences."
    )
    confidence: float = Field(default=0.95, gt=0, lt=1, description="Mass of the intervals.")
    seed: int = Field(default=0, description="Of the bootstrap.")
