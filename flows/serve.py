"""Register the flows' deployments with a Prefect server, and run what they are asked for."""

import asyncio
from typing import Any

from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.runner import Runner
from prefect.types.entrypoint import EntrypointType

from flows.deployed import DEPLOYMENT, FLOWS
from flows.prefect_access import require_access
from flows.prefect_api import api_at
from flows.schedules import Schedule, read_schedules, set_from_file
from infra.settings import get_settings

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
    asyncio.run(_serve(api_url, deployments(), schedules))


async def _serve(
    api_url: str, all_of_them: list[RunnerDeployment], schedules: tuple[Schedule, ...]
) -> None:
    runner = Runner(name="tokgraft", limit=1, pause_on_shutdown=False)
    for deployment in all_of_them:
        await runner.aadd_deployment(deployment)
    with api_at(api_url) as api:
        for deployment in all_of_them:
            set_from_file(api, deployment.full_name, schedules)
    await runner.start()
