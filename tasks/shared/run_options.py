"""How the doors of one run behave; no choice here changes what a stage writes."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Literal

from infra.artifacts import Artifact
from tasks.shared.errors import InputError

Refresh = Literal["never", "if_missing", "always"]
Outcome = Literal["run", "cached", "depends"]


class UnknownStageError(InputError):
    """A flag names a stage that the flow does not have."""


class Display:
    """Where a run is shown besides Prefect; this one shows nothing."""

    def started(self, stage: str, key: str, *, cached: bool) -> None:
        """A stage begins."""

    def progress(self, stage: str, done: int | float, total: int | float, text: str) -> None:
        """A stage is ``done`` of ``total``."""

    def finished(self, stage: str, artifact: Artifact, seconds: float, *, cached: bool) -> None:
        """A stage ended well."""


@dataclass(frozen=True)
class PlannedStage:
    """One line of a plan."""

    stage: str
    outcome: Outcome
    key: str | None
    because: str


@dataclass
class RunOptions:
    """Forcing, planning and showing."""

    plan_only: bool = False
    force: frozenset[str] = frozenset()
    force_from: str | None = None
    look_again: bool = False
    """Look at what is outside although it was looked at before; not at what is pinned."""
    display: Display = field(default_factory=Display)
    planned: list[PlannedStage] = field(default_factory=list)
    forced_uris: set[str] = field(default_factory=set)
    """What ``force_from`` made: whatever reads one of these runs too."""
    seen: set[str] = field(default_factory=set)
    made: dict[str, Artifact] | None = None
    """Inside ``once_a_run``: what the run has by its key, and does not ask for again."""

    def plan(self, line: PlannedStage) -> Artifact:
        """Note a line of the plan; returns an artifact that nobody can know yet."""
        self.planned.append(line)
        return Artifact(uri="", digest="", stage=line.stage)

    def is_forced(self, stage: str, inputs: Sequence[Artifact]) -> bool:
        """Whether a stage runs although its artifact stands."""
        return stage in self.force or self.is_forced_on(stage, inputs)

    def is_forced_on(self, stage: str, inputs: Sequence[Artifact]) -> bool:
        """Whether it is one of those that ``force_from`` runs, to which ``force`` adds none."""
        return stage == self.force_from or any(a.uri in self.forced_uris for a in inputs)

    def check_names(self, known: Sequence[str]) -> None:
        """Refuse a forced stage that the flow does not have.

        Raises:
            UnknownStageError: it names the stages there are.
        """
        asked = self.force | ({self.force_from} if self.force_from else set[str]())
        if missing := sorted(asked - set(known)):
            raise UnknownStageError(
                f"no stage named {', '.join(missing)}; --force takes one of {', '.join(known)}."
            )


run_options: ContextVar[RunOptions] = ContextVar("run_options", default=RunOptions())  # noqa: B039
"""Options of the run in this context; the default runs everything that is missing, silently."""


@contextmanager
def once_a_run() -> Generator[None]:
    """Ask for a stage with the same config and inputs once, also if it is forced or looks outside.

    So everything in a grid is made from one look at a donor or at files, whatever becomes of them
    meanwhile.
    """
    token = run_options.set(replace(run_options.get(), made={}))
    try:
        yield
    finally:
        run_options.reset(token)
