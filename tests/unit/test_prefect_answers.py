"""What is no Prefect server may answer where one is looked for: it is told, and asked again."""

import asyncio
from collections.abc import Callable, Iterator

import pytest
from one_answer import answering

from flows.prefect_api import PrefectApiError, api_at, ask
from flows.prefect_runs import PrefectRuns
from infra.webhook.runs import ServerAwayError


@pytest.fixture
def proxy() -> Iterator[str]:
    with answering(200, b"<html>Please sign in.</html>") as url:
        yield url


@pytest.mark.parametrize(
    "question",
    [
        lambda runs: runs.create("adapt/tokgraft", {}, "delivery-1"),
        lambda runs: runs.state("1f7c6a10-0000-4000-8000-000000000000"),
    ],
)
def test_a_page_in_place_of_an_answer_is_a_server_that_is_away(
    proxy: str, question: Callable[[PrefectRuns], object]
):
    from prefect.client.orchestration import PrefectClient

    async def asked() -> None:
        async with PrefectClient(proxy) as client:
            await question(PrefectRuns(client))  # pyright: ignore

    with pytest.raises(ServerAwayError, match="what answers is no Prefect server"):
        asyncio.run(asked())


def test_a_page_in_place_of_an_answer_is_told_to_who_asks(proxy: str):
    said = "is no Prefect server, but says '<html>Please sign in.</html>'; correct PREFECT_API_URL"
    with api_at(proxy) as api, pytest.raises(PrefectApiError, match=said):
        ask(api, "GET", "/deployments/name/adapt/tokgraft")


def test_who_is_refused_hears_what_to_set():
    with (
        answering(401, b"{}") as url,
        api_at(url) as api,
        pytest.raises(PrefectApiError, match=r"refuses access .status 401.; set PREFECT_API_AUTH"),
    ):
        ask(api, "GET", "/deployments/name/adapt/tokgraft")


def test_an_address_that_is_none_is_told():
    with pytest.raises(PrefectApiError, match="which is no address"):
        api_at("http://[::1/api")
