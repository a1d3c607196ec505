"""What is no Prefect server may answer where one is looked for: it is told, and asked again."""

import asyncio
import http.server
import threading
from collections.abc import Callable, Iterator

import pytest

from flows.prefect_runs import PrefectRuns
from infra.webhook.runs import ServerAwayError


@pytest.fixture
def proxy() -> Iterator[str]:
    """Address of a server that answers everything with 200 and a page, as a sign-in proxy does."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = b"<html>Please sign in.</html>"
            self.send_response(200)
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        do_POST = do_DELETE = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/api"
    server.shutdown()
    server.server_close()


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
