"""How a stage body becomes a door: keyed, cached, shown in Prefect.

The body is ``(attempt, config, *artifacts) -> summary``; the door is ``(config, *artifacts) ->
Artifact``. Prefect's own result cache is not used: it pickles, and it keys on source lines.
"""

import logging
import time
from collections.abc import Callable
from typing import Any, Concatenate, Generic, ParamSpec

import httpx
from prefect import get_run_logger, task
from prefect.artifacts import (
    create_link_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, get_current_settings, temporary_settings
from prefect.states import Completed

from infra.artifacts import Artifact, Attempt, Summary
from infra.observation import FlowRun, StageWatch, watched_stage
from infra.stages import StageCall, run_call
from tasks.shared.config import key_view
from tasks.shared.run_options import PlannedStage, Refresh, RunOptions, run_options

Inputs = ParamSpec("Inputs")
_LOG = logging.getLogger(__name__)

_PROGRESS_SECONDS = 5.0
"""Least time between two updates of a progress artifact in Prefect."""
_PROGRESS_SHARE = 0.05
"""Most of a stage's time that goes by with telling: a server that is away may take a minute."""


class Stage(Generic[Inputs]):
    """A stage's door. Call it with a config and artifacts."""

    def __init__(
        self,
        body: Callable[Concatenate[Attempt, Inputs], Summary],
        name: str,
        version: int,
        volatile: tuple[str, ...],
        refresh: Callable[[Any], Refresh] | None,
    ) -> None:
        self.name = name
        self.version = version
        self._body: Callable[..., Summary] = body
        self._volatile = volatile
        self._refresh = refresh
        self.__doc__ = body.__doc__

    def __call__(self, *args: Inputs.args, **kwargs: Inputs.kwargs) -> Artifact:
        """Return the standing artifact, or run the body and publish what it wrote."""
        if kwargs:
            raise TypeError(f"stage {self.name} takes its config and inputs by position")
        config, inputs = args[0], [value for value in args[1:] if isinstance(value, Artifact)]
        options = run_options.get()
        options.seen.add(self.name)
        if unknown := [artifact.stage for artifact in inputs if not artifact.is_known]:
            return options.plan(PlannedStage(self.name, "depends", None, f"on {unknown[0]}"))
        call = StageCall(
            self.name,
            self.version,
            key_view(config, keep_places=self._refresh is not None),
            tuple(inputs),
            self._volatile,
        )
        if options.made is None:
            return self._artifact(call, args, options)
        if call.key not in options.made:
            options.made[call.key] = self._artifact(call, args, options)
        return options.made[call.key]

    def _artifact(self, call: StageCall, args: tuple[Any, ...], options: RunOptions) -> Artifact:
        config, inputs = args[0], call.inputs
        standing, generation = call.standing()
        forced = options.is_forced(self.name, inputs)
        looks = "never" if self._refresh is None else self._refresh(config)
        always = looks == "always" or (looks == "if_missing" and options.look_again)
        if options.plan_only and not always:
            return _planned(options, call, None if forced else standing, forced)
        if standing is not None and not forced and not always:
            artifact = _through_prefect(call, options, lambda _, __: standing, cached=True)
        else:
            artifact = self._run(call, args, standing, generation, options)
        if options.plan_only:
            options.plan(PlannedStage(self.name, "cached", call.key, "looked up now"))
        if options.is_forced_on(self.name, inputs):
            options.forced_uris.add(artifact.uri)
        return artifact

    def _run(
        self,
        call: StageCall,
        args: tuple[Any, ...],
        standing: Artifact | None,
        generation: int,
        options: RunOptions,
    ) -> Artifact:
        def work(progress: Callable[[float, float, str], None], watch: StageWatch) -> Artifact:
            return run_call(
                call,
                generation + 1,
                lambda attempt: self._body(attempt, *args),
                progress,
                keep_equal=standing if self._refresh is not None else None,
                watch=watch,
            )

        return _through_prefect(call, options, work, cached=False)


def stage(
    *,
    name: str,
    version: int,
    volatile: tuple[str, ...] = (),
    refresh: Callable[[Any], Refresh] | None = None,
) -> Callable[[Callable[Concatenate[Attempt, Inputs], Summary]], Stage[Inputs]]:
    """Make a body a stage.

    Args:
        name: folder of the stage in the store; what ``--force`` takes.
        version: raise it when the output would change for the same config and inputs.
        volatile: globs of files left out of the digest.
        refresh: only for stages that look at the outside world (locks): when to look again.
            Their keys include where they look.
    """
    return lambda body: Stage(body, name, version, volatile, refresh)


def _planned(
    options: RunOptions, call: StageCall, standing: Artifact | None, forced: bool
) -> Artifact:
    if standing is not None:
        options.plan(PlannedStage(call.stage, "cached", call.key, ""))
        return standing
    return options.plan(PlannedStage(call.stage, "run", call.key, "forced" if forced else ""))


def _through_prefect(
    call: StageCall,
    options: RunOptions,
    work: Callable[[Callable[[float, float, str], None], StageWatch], Artifact],
    *,
    cached: bool,
) -> Artifact:
    """Run ``work`` as a Prefect task run when a flow is running, else plainly."""
    label = f"{call.stage} {call.key[:8]}"
    options.display.started(call.stage, call.key, cached=cached)
    run = _flow_run()
    in_flow = run is not None
    report = _Reporter(call.stage, options, in_flow=in_flow)

    def shown() -> Any:
        if not in_flow:
            return Completed(data=work(report, watch))
        log = get_run_logger()
        log.info("%s stands already" if cached else "%s begins", label)
        artifact = work(report, watch)
        log.info("%s is %s", label, artifact.uri)
        try:
            report.finish()
            _show(artifact, label)
        except httpx.RequestError:
            # Away for all of Prefect's patience: the end of the run is not to wait as long again.
            get_current_settings().client.max_retries = 0
            raise
        return Completed(name="Cached", data=artifact) if cached else Completed(data=artifact)

    started = time.monotonic()
    with watched_stage(run, call.stage, call.key, cached=cached) as watch:
        artifact = _execute(label, shown, return_state=True).result() if in_flow else shown().data
    options.display.finished(call.stage, artifact, time.monotonic() - started, cached=cached)
    return artifact


def _show(artifact: Artifact, label: str) -> None:
    """What a stage left, on its task run's page in Prefect."""
    key = artifact.stage.replace("_", "-")
    create_table_artifact(
        table=[{"what": k, "value": v} for k, v in artifact.summary.items()]
        + [{"what": "artifact", "value": artifact.uri}],
        key=f"{key}-summary",
        description=f"{label}: {artifact.digest[:16]}",
    )
    create_link_artifact(artifact.uri, link_text=artifact.uri, key=f"{key}-artifact")


def _flow_run() -> FlowRun | None:
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return None
    return FlowRun(context.flow.name if context.flow else "flow", str(context.flow_run.id))


@task(name="stage", task_run_name="{label}", cache_policy=NO_CACHE, persist_result=False)
def _execute(label: str, work: Callable[[], Any]) -> Any:
    return work()


class _Reporter:
    """Progress goes to the terminal at once and to Prefect every few seconds."""

    def __init__(self, stage: str, options: RunOptions, *, in_flow: bool) -> None:
        self._stage = stage
        self._options = options
        self._in_flow = in_flow
        self._artifact_id: Any = None
        self._next = time.monotonic()

    def __call__(self, done: int | float, total: int | float, text: str) -> None:
        """Say that the stage is ``done`` of ``total``."""
        self._options.display.progress(self._stage, done, total, text)
        began = time.monotonic()
        if not self._in_flow or began < self._next:
            return
        try:
            # Without Prefect's patience, which would hold up the stage: the next one is tried.
            with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
                self._tell(100.0 * done / total if total else 0.0, text)
        except httpx.RequestError as error:
            self._not_taken(error)
        took = time.monotonic() - began
        self._next = began + max(_PROGRESS_SECONDS, took / _PROGRESS_SHARE)

    def finish(self) -> None:
        """Leave no bar short of its end."""
        if self._artifact_id is not None:
            self._tell(100.0, "done")

    def _tell(self, percent: float, text: str) -> None:
        key = f"{self._stage}-progress".replace("_", "-")
        try:
            if self._artifact_id is None:
                self._artifact_id = create_progress_artifact(percent, key=key, description=text)
            else:
                update_progress_artifact(self._artifact_id, progress=percent, description=text)
        except (httpx.HTTPStatusError, ObjectNotFound) as error:  # busy; the bar was deleted
            self._not_taken(error)

    def _not_taken(self, error: Exception) -> None:
        _LOG.warning("Prefect does not take the progress of %s: %r", self._stage, error)
