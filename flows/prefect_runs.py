"""Runs of Prefect deployments, as the webhook receiver asks for them."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import get_current_settings

from infra.credentials import without_credentials
from infra.errors import InfraError
from infra.webhook.runs import NotYetError, RunRefusedError, ServerAwayError

_BUSY = {408, 429, 502, 503, 504}
_UNAUTHORISED = {401, 403}
_NOT_FOUND = 404


class NoServerError(InfraError, ValueError):
    """No Prefect server is named."""


class PrefectRuns:
    """See ``infra.webhook.runs.Runs``."""

    def __init__(self, client: PrefectClient) -> None:
        self._client = client
        self._ids: dict[str, UUID] = {}

    async def create(self, deployment: str, parameters: dict[str, Any], key: str) -> str:
        """Make the run of a key; Prefect gives the one it has if the key came before."""
        try:
            run = await self._client.create_flow_run_from_deployment(
                await self._id(deployment),
                parameters=parameters,
                idempotency_key=key,
                tags=["webhook"],
            )
        except (PrefectHTTPStatusError, httpx.HTTPError) as error:
            if _status(error) == _NOT_FOUND:  # deleted since, and perhaps made anew
                self._ids.pop(deployment, None)
                raise _not_deployed(deployment) from None
            raise _explained(error) from error
        except json.JSONDecodeError as error:
            raise _no_prefect() from error
        return str(run.id)

    async def _id(self, deployment: str) -> UUID:
        if deployment not in self._ids:
            try:
                found = await self._client.read_deployment_by_name(deployment)
            except ObjectNotFound:
                raise _not_deployed(deployment) from None
            self._ids[deployment] = found.id
        return self._ids[deployment]

    async def state(self, run_id: str) -> str:
        """Name of a run's state, as Prefect's pages show it."""
        try:
            run = await self._client.read_flow_run(UUID(run_id))
        except ObjectNotFound:
            return "Deleted"
        except (PrefectHTTPStatusError, httpx.HTTPError) as error:
            raise _explained(error) from error
        except ValueError as error:  # no JSON, or JSON that is no run
            raise _no_prefect() from error
        return run.state.name or "Unknown" if run.state is not None else "Pending"


@asynccontextmanager
async def prefect_runs() -> AsyncGenerator[PrefectRuns]:
    """A client of the server that Prefect's settings name."""
    async with get_client() as client:
        yield PrefectRuns(client)


def require_server() -> None:
    """Make sure that a server is named, for Prefect would start a temporary one otherwise.

    Raises:
        NoServerError: none is.
    """
    if not get_current_settings().api.url:
        raise NoServerError(
            "no Prefect server is named, and runs are made there; set PREFECT_API_URL, for example "
            "to http://127.0.0.1:4200/api, or let `tokgraft up` start both."
        )


def _status(error: httpx.HTTPError) -> int | None:
    return error.response.status_code if isinstance(error, httpx.HTTPStatusError) else None


def _not_deployed(deployment: str) -> NotYetError:
    return NotYetError(f"Prefect has no deployment {deployment}; `tokgraft up` registers ours.")


def _no_prefect() -> ServerAwayError:
    return ServerAwayError(
        "what answers is no Prefect server, perhaps a proxy's page; correct PREFECT_API_URL, which "
        "ends in /api."
    )


def _explained(error: httpx.HTTPError) -> InfraError:
    """What a failure means for the delivery. Neither addresses nor secrets are repeated."""
    if not isinstance(error, httpx.HTTPStatusError):
        return ServerAwayError(
            f"Prefect does not answer ({type(error).__name__}); start its server, or correct "
            "PREFECT_API_URL."
        )
    status = error.response.status_code
    if status in _BUSY:
        return ServerAwayError(f"Prefect is busy (status {status}).")
    if status in _UNAUTHORISED:
        return ServerAwayError(
            f"Prefect does not let the receiver in (status {status}); set PREFECT_API_AUTH_STRING."
        )
    said = without_credentials(" ".join(error.response.text.split()))[:500]
    if 400 <= status < 500:
        return RunRefusedError(f"Prefect refuses the run (status {status}): {said}")
    return NotYetError(f"Prefect failed (status {status}); its log says why.")
