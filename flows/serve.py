"""Register the flows' deployments with a Prefect server, and run what they are asked for."""

import asyncio
from typing import Any

from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.runner import Runner
from prefect.types.entrypoint import EntrypointType

from flows.deployed import DEPLOYMENT, FLOWS

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


def serve_flows() -> None:
    """Register and run until the process is told to end; one run at a time on this machine."""
    # Made outside of the event loop: inside, Prefect's functions return coroutines.
    asyncio.run(_serve(deployments()))


async def _serve(all_of_them: list[RunnerDeployment]) -> None:
    runner = Runner(name="tokgraft", limit=1, pause_on_shutdown=False)
    for deployment in all_of_them:
        await runner.aadd_deployment(deployment)
    await runner.start()
