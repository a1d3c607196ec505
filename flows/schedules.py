"""When runs begin by themselves: a file beside the run files, or the command line."""

from pathlib import Path
from typing import Any, Literal

import httpx
from pydantic import Field, ValidationError, field_validator, model_validator

from flows.prefect_api import ask
from flows.run_config import check_config, load_config
from flows.run_files import SCHEDULES, Kind, run_files
from tasks.shared.config import StageConfig
from tasks.shared.errors import InputError

FlowName = Literal["adapt", "compare", "evaluate"]
Origin = Literal["file", "command"]
_KINDS: dict[FlowName, Kind] = {"adapt": "run", "compare": "comparison", "evaluate": "run"}


class ScheduleError(InputError):
    """A schedule names what is not there."""


class Schedule(StageConfig):
    """One run file, again and again.

    A scheduled run looks at every source again: new text is a new corpus, and where nothing is new
    all stages are cached. It waits while another run of its deployment works.
    """

    flow: FlowName = "adapt"
    """What is run."""
    config: str
    """Name of the run file."""
    cron: str
    """Minute, hour, day of the month, month, day of the week: ``0 3 * * 1`` is Mondays at three."""
    timezone: str = "UTC"
    """Whose three o'clock, as ``Europe/Berlin``."""

    @model_validator(mode="after")
    def _means_a_time(self) -> "Schedule":
        from prefect.client.schemas.schedules import CronSchedule

        try:
            CronSchedule(cron=self.cron, timezone=self.timezone)
        except ValidationError as error:
            said = "; ".join(problem["msg"] for problem in error.errors())
            raise ValueError(
                f"cron {self.cron!r} with timezone {self.timezone!r}: {said}"
            ) from error
        return self

    def slug(self, origin: Origin) -> str:
        """How it is found again on a server."""
        return f"{origin}-{self.config.removesuffix('.yaml')}"


class Schedules(StageConfig):
    """The file of schedules."""

    schedules: tuple[Schedule, ...] = Field(min_length=1)
    """One entry a run file."""

    @field_validator("schedules")
    @classmethod
    def _each_once(cls, schedules: tuple[Schedule, ...]) -> tuple[Schedule, ...]:
        named = [(one.flow, one.config) for one in schedules]
        if repeated := sorted({f"{f} {c}" for f, c in named if named.count((f, c)) > 1}):
            raise ValueError(f"{', '.join(repeated)} stands twice; one cron line can hold lists")
        return schedules


def read_schedules(folder: Path) -> tuple[Schedule, ...]:
    """Schedules of a folder of run files; none where it has no file of them.

    Raises:
        RunConfigError: the file cannot be read, or a field in it is wrong.
        ScheduleError: it names a run file that is not there.
    """
    file = folder / SCHEDULES
    if not file.exists():
        return ()
    schedules = load_config(file, Schedules).schedules
    for schedule in schedules:
        check_file(schedule, folder)
    return schedules


def check_file(schedule: Schedule, folder: Path) -> None:
    """See that the run file is there.

    Raises:
        ScheduleError: it is not, or is of the wrong kind.
    """
    kind = _KINDS[schedule.flow]
    if schedule.config not in (known := run_files(folder, kind)):
        raise ScheduleError(
            f"{SCHEDULES} names {schedule.config} for {schedule.flow}; {folder} holds no such "
            f"{kind}, but {', '.join(known) or 'none at all'}."
        )


def set_from_file(api: httpx.Client, deployment: str, schedules: tuple[Schedule, ...]) -> None:
    """Make a server's schedules of a deployment those of the file, and leave all others alone.

    One that stands as it is in the file is left too: somebody may have paused it.

    Args:
        api: the server.
        deployment: ``adapt/tokgraft``.
        schedules: all of the file.
    """
    place, standing = _standing(api, deployment)
    flow = deployment.partition("/")[0]
    wanted = {one.slug("file"): one for one in schedules if one.flow == flow}
    for slug, there in standing.items():
        if slug.startswith("file-") and slug not in wanted:
            ask(api, "DELETE", f"{place}/{there['id']}")
    for slug, schedule in wanted.items():
        if not _is_same(standing.get(slug), schedule):
            _put(api, place, standing.get(slug), _as_json(schedule, slug))


def checked(**values: str) -> Schedule:
    """A schedule of plain values.

    Raises:
        RunConfigError: one of them is wrong.
    """
    return check_config(values, Schedule, "schedule")


def set_by_command(api: httpx.Client, deployment: str, schedule: Schedule) -> None:
    """Put a schedule on a server in place of the one that the command line set before.

    Raises:
        ScheduleError: the server offers no such run file.
    """
    found = ask(api, "GET", f"/deployments/name/{deployment}")
    offered = found["parameter_openapi_schema"]["properties"]["config"]["enum"][1:]
    if schedule.config not in offered:
        raise ScheduleError(
            f"{deployment} offers no {schedule.config}; it offers {', '.join(offered) or 'none'}."
        )
    slug = schedule.slug("command")
    place, standing = _standing(api, deployment)
    _put(api, place, standing.get(slug), _as_json(schedule, slug))


def clear_by_command(api: httpx.Client, deployment: str, config: str) -> bool:
    """Take back a schedule that the command line set.

    Returns:
        Whether there was one.
    """
    place, standing = _standing(api, deployment)
    found = standing.get(f"command-{config.removesuffix('.yaml')}")
    if found is not None:
        ask(api, "DELETE", f"{place}/{found['id']}")
    return found is not None


def _standing(api: httpx.Client, deployment: str) -> tuple[str, dict[str, Any]]:
    found = ask(api, "GET", f"/deployments/name/{deployment}")
    by_slug = {one["slug"]: one for one in found["schedules"] if one["slug"]}
    return f"/deployments/{found['id']}/schedules", by_slug


def _put(
    api: httpx.Client, place: str, there: dict[str, Any] | None, wanted: dict[str, Any]
) -> None:
    """Make or change one in a single request: where it is refused, the one there stays."""
    if there is None:
        ask(api, "POST", place, [wanted])
    else:
        ask(api, "PATCH", f"{place}/{there['id']}", wanted)


def _as_json(schedule: Schedule, slug: str) -> dict[str, Any]:
    return {
        "slug": slug,
        "schedule": {"cron": schedule.cron, "timezone": schedule.timezone},
        "parameters": {"config": schedule.config, "refresh": True},
        "active": True,
    }


def _is_same(there: dict[str, Any] | None, wanted: Schedule | None) -> bool:
    if there is None or wanted is None:
        return there is wanted
    when = there["schedule"]
    return (when.get("cron"), when.get("timezone")) == (wanted.cron, wanted.timezone)
