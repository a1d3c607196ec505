"""What a person may choose about token shards and about continued pretraining."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tasks.shared.config import StageConfig


class TokensConfig(StageConfig):
    """Token shards: the corpus cut by the tokenizer, as it stands, with no special tokens."""


class Budget(StageConfig):
    """How much of the corpus a phase reads; rounded up to whole optimizer steps."""

    unit: Literal["bytes", "tokens"] = Field(
        default="bytes",
        description="Bytes of text are the same text under every tokenizer; tokens are not.",
    )
    amount: int = Field(gt=0, description="Bytes scored, or tokens fed, in this phase.")


class PhaseBase(StageConfig):
    """What every phase of training chooses."""

    budget: Budget = Field(description="When the phase ends.")
    lr_input_rows: float = Field(
        default=1e-3,
        ge=0,
        description="Peak rate of input rows, and of a tied head; 0 freezes.",
    )
    lr_head: float = Field(
        default=5e-4,
        ge=0,
        description="Peak rate of an untied head and its bias; 0 freezes.",
    )
    schedule: Literal["cosine", "linear", "constant"] = Field(
        default="cosine", description="Course of the learning rates after the warm-up."
    )
    warmup: int | float = Field(
        default=10,
        ge=0,
        description="Linear warm-up: a whole number of steps, or a fraction of the phase below 1.",
    )

    @model_validator(mode="after")
    def _warmup_is_steps_or_a_fraction(self) -> "PhaseBase":
        if isinstance(self.warmup, float) and self.warmup >= 1:
            raise ValueError(
                f"warmup={self.warmup} is neither a whole number of steps nor a fraction of the "
                "phase below 1; write steps without a decimal point"
            )
        return self


class EmbeddingsPhase(PhaseBase):
    """Only the input rows and the head learn; the body stays as it is."""

    trainable: Literal["embeddings"] = "embeddings"


class FullPhase(PhaseBase):
    """Every parameter learns."""

    trainable: Literal["all"] = "all"
    lr_body: float = Field(default=1e-4, gt=0, description="Peak rate of everything else.")


Phase = Annotated[EmbeddingsPhase | FullPhase, Field(discriminator="trainable")]


class PriorRegulariser(StageConfig):
    """A pull of new tokens' input and head rows towards those that the embedding stage gave."""

    strength: float = Field(
        gt=0, description="Times the mean squared distance of a row, in nats a target."
    )
    rows: Literal["tools", "new"] = Field(
        default="tools",
        description="tools: rows that started from what a tool is for; new: all that the source "
        "model has no token for.",
    )


class PretrainingConfig(StageConfig):
    """Continued pretraining on the token shards, phase after phase."""

    phases: tuple[Phase, ...] = Field(
        default=(FullPhase(budget=Budget(unit="bytes", amount=600_000)),),
        min_length=1,
        description="Run in order; each reads the corpus on from where the last one stopped.",
    )
    sequence_length: int = Field(default=256, ge=2, description="Tokens a training sequence.")
    global_batch_tokens: int = Field(default=1024, gt=0, description="Tokens an optimizer step.")
    isolate_documents: bool = Field(
        default=True, description="Documents packed into one sequence do not attend to each other."
    )
    max_epochs: float = Field(
        default=1.0,
        gt=0,
        description="How often the corpus may be read; asking for more is an error.",
    )
    weight_decay: float = Field(
        default=0.01, ge=0, description="AdamW, on matrices of the body alone."
    )
    beta1: float = Field(
        default=0.9, ge=0, lt=1, description="AdamW: decay of the mean of gradients."
    )
    beta2: float = Field(
        default=0.95, ge=0, lt=1, description="AdamW: decay of their squares' mean."
    )
    clip_norm: float = Field(
        default=1.0, gt=0, description="Largest global norm of a step's gradient."
    )
    prior_regulariser: PriorRegulariser | None = Field(
        default=None, description="Null lets rows go where the text takes them."
    )
    compute_dtype: Literal["auto", "bfloat16", "float32"] = Field(
        default="auto",
        description="Of matrix products; weights and moments are float32 throughout. auto: "
        "bfloat16 where the hardware multiplies it, else float32; the summary says which.",
    )
    seed: int = Field(
        default=0, ge=0, description="Order of documents and randomness of the model."
    )
    checkpoint_every_steps: int = Field(
        default=50, gt=0, description="What a crash can cost at most."
    )

    @model_validator(mode="after")
    def _whole_sequences(self) -> "PretrainingConfig":
        if self.global_batch_tokens % self.sequence_length:
            raise ValueError(
                f"global_batch_tokens={self.global_batch_tokens} is not a whole number of "
                f"sequences of sequence_length={self.sequence_length} tokens; change one of them"
            )
        return self
