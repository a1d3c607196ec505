"""The base of every stage config."""

from pydantic import BaseModel, ConfigDict


class StageConfig(BaseModel):
    """Choices that change a stage's output: immutable, and a typo is an error.

    Place, hardware and retries are no choices of this kind; they live in ``infra.settings`` and
    never enter a key.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
