"""Prefect's API by plain HTTP: for what needs no Prefect in this process."""

import os
import time
from typing import Any

import httpx

from infra.errors import InfraError

DEFAULT_URL = "http://127.0.0.1:4200/api"
"""Where ``tokgraft up`` serves, if nothing else is said."""
SERVER_AUTH = "PREFECT_SERVER_API_AUTH_STRING"
CLIENT_AUTH = "PREFECT_API_AUTH_STRING"


REFUSED = (401, 403)


class PrefectApiError(InfraError, RuntimeError):
    """The server is away, or refuses what it is asked for."""


_BUSY = 503


class _Patient(httpx.HTTPTransport):
    """Asks again where a server says that it is busy, as Prefect's own client does."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        deadline = time.monotonic() + self._seconds
        while True:
            response = super().handle_request(request)
            if response.status_code != _BUSY:
                return response
            if time.monotonic() > deadline:
                return response
            response.close()
            time.sleep(0.3)


def api_at(url: str, *, seconds: float = 20.0) -> httpx.Client:
    """A client that names itself as the environment says, and asks no proxy.

    Args:
        url: root of the API.
        seconds: to wait for an answer, and to ask again for where the server is busy.

    Raises:
        PrefectApiError: the root is no address.
    """
    auth = os.environ.get(CLIENT_AUTH) or os.environ.get(SERVER_AUTH) or ""
    name, _, password = auth.partition(":")
    try:
        return httpx.Client(
            base_url=url,
            auth=(name, password) if auth else None,
            timeout=seconds,
            transport=_Patient(seconds),
        )
    except httpx.InvalidURL as error:
        raise PrefectApiError(
            f"PREFECT_API_URL is {url!r}, which is no address ({error}); it is like {DEFAULT_URL}."
        ) from None


def ask(api: httpx.Client, method: str, path: str, body: Any = None) -> Any:
    """One question and its answer.

    Args:
        api: the server.
        method: of HTTP.
        path: below the API's root.
        body: JSON values.

    Raises:
        PrefectApiError: what the server said against it, or that it said nothing.
    """
    try:
        answer = api.request(method, path, json=body)
    except httpx.HTTPError as error:
        raise PrefectApiError(
            f"no Prefect server answers at {api.base_url} ({type(error).__name__}); start one "
            "with `tokgraft up`, or name yours in PREFECT_API_URL."
        ) from error
    if answer.status_code in REFUSED:
        raise PrefectApiError(
            f"{api.base_url} refuses access (status {answer.status_code}); set {CLIENT_AUTH} to "
            "NAME:PASSWORD of the server."
        )
    if not answer.is_success:
        raise PrefectApiError(
            f"{api.base_url}{path.lstrip('/')} answers {answer.status_code}: {answer.text[:300]}"
        )
    try:
        return answer.json() if answer.content else None
    except ValueError:
        raise PrefectApiError(
            f"what answers at {api.base_url} is no Prefect server, but says {answer.text[:40]!r}; "
            "correct PREFECT_API_URL, which ends in /api."
        ) from None
