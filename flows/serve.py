"""Register the flows' deployments with a Prefect server, and run what they are asked for."""

import asyncio
import contextlib
import os
import signal
from typing import Any
from uuid import UUID

import httpx
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.runner import Runner
from prefect.types.entrypoint import EntrypointType

from flows.deployed import DEPLOYMENT, FLOWS
from flows.interrupted_runs import give_back, give_back_gone, runs_at_work
from flows.prefect_access import require_access
from flows.prefect_api import PrefectApiError, api_at
from flows.schedules import Schedule, read_schedules, set_from_file
from infra.process_tree import adopt_orphans, end_descendants
from infra.settings import get_settings

_END_SECONDS = 3.0
"""For what runs flows, of the ten that Docker leaves by default."""
_ONE_AT_A_TIME = ConcurrencyLimitConfig(
    limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE
)
"""A run that comes due while another works waits for its turn."""


def deployments() -> list[RunnerDeployment]:
    """The deployments of all flows, none with a schedule of its own.

    Schedules that a server holds already stay, whoever made them.
    """
    return [_deployment(flow) for flow in FLOWS]


def _deployment(flow: Any) -> RunnerDeployment:
    # By module: an entrypoint by file would put that file's folder first on the path.
    return flow.to_deployment(
        DEPLOYMENT,
        description=flow.description.partition("\n\nArgs:")[0],
        tags=["tokgraft"],
        concurrency_limit=_ONE_AT_A_TIME,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


def serve_flows(api_url: str) -> None:
    """Register and run until the process is told to end; one run at a time on this machine.

    Args:
        api_url: the server, which Prefect's settings have to name too.

    Raises:
        PrefectApiError: no server answers, or it refuses.
    """
    schedules = read_schedules(get_settings().configs)
    require_access()
    # Made outside of the event loop: inside, Prefect's functions return coroutines.
    with api_at(api_url) as api:
        give_back_left(api)
    asyncio.run(_serve(api_url, deployments(), schedules))


def give_back_left(api: httpx.Client) -> None:
    """Let what a worker of this machine left behind begin again.

    Raises:
        PrefectApiError: the server does not take it.
    """
    try:
        give_back_gone(api)
    except httpx.HTTPError as error:
        raise PrefectApiError(
            f"{api.base_url} does not give back the runs that a worker left here ({error!r}); look "
            "into the server's log, and start again."
        ) from error


class _Runner(Runner):
    """Prefect's cancels what it runs when it is told to end; here runs wait for the next worker."""

    def __init__(self, api_url: str) -> None:
        super().__init__(name="tokgraft", limit=1, pause_on_shutdown=False)
        self.api_url = api_url

    def handle_sigterm(self, *args: Any, **kwargs: Any) -> None:
        """End what it runs, give that back, and end."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        adopt_orphans()
        # If the server does not answer, the next worker here finds these runs and does the same.
        with contextlib.suppress(httpx.HTTPError), api_at(self.api_url, seconds=2.0) as api:
            own = {str(run) for run in self._taken_runs()}
            at_work = [run for run in runs_at_work(api, [DEPLOYMENT]) if run["id"] in own]
            end_descendants(_END_SECONDS)
            give_back(api, at_work)
            give_back_gone(api, at_work)
        end_descendants(0.0)
        os._exit(0)  # an orderly end would say of these runs that they crashed

    def _taken_runs(self) -> set[UUID]:
        """Runs that it works on, those included whose process has not begun its work."""
        poller = getattr(self, "_scheduled_run_poller", None)  # none before it has started
        return set() if poller is None else set(poller._submitting_flow_run_ids)


async def _serve(
    api_url: str, all_of_them: list[RunnerDeployment], schedules: tuple[Schedule, ...]
) -> None:
    runner = _Runner(api_url)
    for deployment in all_of_them:
        await runner.aadd_deployment(deployment)
    with api_at(api_url) as api:
        for deployment in all_of_them:
            set_from_file(api, deployment.full_name, schedules)
    await runner.start()
