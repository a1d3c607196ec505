"""A Prefect server that is lost under a run: one error, and never in place of a stage's own."""

import re
from collections.abc import Iterator

import httpx
import pytest
from one_answer import answering
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows.lost_server import ServerLostError, loss_told
from tasks.shared.errors import InputError

AWAY = "http://127.0.0.1:9/api"


@pytest.fixture
def away() -> Iterator[None]:
    with temporary_settings({PREFECT_API_URL: AWAY, PREFECT_CLIENT_MAX_RETRIES: 0}):
        yield


def ask_it() -> None:
    with get_client(sync_client=True) as client:
        client.read_flows(limit=1)


def test_a_server_that_went_away_is_named_with_the_remedy(away: None):
    said = (
        "the server went away while the run was at work (ConnectError), and a run reports each "
        "stage to one; start it and run the same command: finished stages are cached."
    )
    with (
        pytest.raises(ServerLostError, match=f"^{re.escape(said)}$"),
        loss_told("the server", "start it"),
    ):
        ask_it()


def test_what_prefect_wraps_at_a_runs_start_is_the_same(away: None):
    with (
        pytest.raises(ServerLostError, match="the server went away"),
        loss_told("the server", "start it"),
        get_client(sync_client=True) as client,
    ):
        client.raise_for_api_version_mismatch()


def test_a_server_that_refuses_is_told_with_its_status():
    with (
        answering(418, b"{}") as url,
        temporary_settings({PREFECT_API_URL: url}),
        pytest.raises(ServerLostError, match="answers a run at work with status 418"),
        loss_told("the server", "start it"),
    ):
        ask_it()


def test_a_server_with_another_database_is_told():
    with (
        pytest.raises(ServerLostError, match="no longer knows the run at work"),
        loss_told("the server", "start it"),
    ):
        raise ObjectNotFound(http_exc=ValueError("404"))


def fail_and_tell() -> None:
    """As Prefect does with every error."""
    try:
        raise InputError("600 tokens are too few.")
    except InputError:
        ask_it()


def test_a_stages_own_error_is_told_in_place_of_the_loss(away: None):
    with pytest.raises(InputError, match="600 tokens"), loss_told("the server", "start it"):
        fail_and_tell()


def test_other_servers_are_none_of_this(away: None):
    with pytest.raises(httpx.ConnectError), loss_told("the server", "start it"):
        httpx.get("http://127.0.0.1:10/", trust_env=False)
    with pytest.raises(httpx.HTTPError, match="no request"), loss_told("the server", "start it"):
        raise httpx.HTTPError("no request")
