"""The receiver as senders meet it: each answer, and what it stores. Prefect is away here."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openapi_spec_validator
import pytest
import yaml
from starlette.testclient import TestClient

from flows.webhook_check import check_parameters
from infra.webhook import body as body_module
from infra.webhook.allow_list import AllowList
from infra.webhook.app import Receiver
from infra.webhook.openapi import openapi_document
from infra.webhook.openapi_page import openapi_page
from infra.webhook.outbox import Outbox
from infra.webhook.runs import RunRefusedError, ServerAwayError
from infra.webhook.signature import sign

KEY = b"It is a secret of 32 characters."
OLD_KEY = b"Another secret of 32 characters."
DELIVERY = {"id": "nightly-0001", "deployment": "adapt/adapt", "parameters": {"config": "german"}}


class Away:
    async def create(self, deployment: str, parameters: dict[str, Any], key: str) -> str:
        raise ServerAwayError("Prefect does not answer.")

    async def state(self, run_id: str) -> str:
        raise ServerAwayError("Prefect does not answer.")


class Refusing(Away):
    async def state(self, run_id: str) -> str:
        raise RunRefusedError("Prefect refuses (status 422).")


@asynccontextmanager
async def refusing() -> AsyncGenerator[Away]:
    yield Refusing()


@asynccontextmanager
async def away() -> AsyncGenerator[Away]:
    yield Away()


Start = Callable[..., TestClient]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a receiver; another one on the same outbox is a restart."""
    running: list[TestClient] = []

    def start(
        keys: tuple[bytes, ...] = (KEY,), runs: Callable[[], Any] = away, **limits: Any
    ) -> TestClient:
        config = {"type": "string", "choices": ["german"]}
        parameters = {"config": config, "vocabulary_size": "integer", "run": "object"}
        allowed = {"adapt/adapt": {"parameters": parameters}}
        receiver = Receiver(
            allow_list=AllowList.model_validate({"deployments": allowed, **limits}),
            keys=keys,
            outbox_path=tmp_path / "outbox.sqlite3",
            open_runs=runs,
            check=check_parameters,
            base_url="http://hooks.example",
        )
        client = TestClient(receiver.app(), raise_server_exceptions=False)
        client.__enter__()
        running.append(client)
        return client

    yield start
    for client in running:
        client.__exit__()


def deliver(client: TestClient, body: object, key: bytes = KEY, **headers: str) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    timestamp = str(int(time.time()))
    signed = {"Tokgraft-Timestamp": timestamp, "Tokgraft-Signature": sign(key, timestamp, content)}
    return client.post("/deliveries", content=content, headers=signed | headers)


def problem(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert said["status"] == status
    return f"{said['title']}: {said['detail']}"


def test_a_delivery_is_stored_and_its_status_can_be_seen(start: Start, tmp_path: Path):
    client = start()
    answer = deliver(client, DELIVERY)
    assert answer.status_code == 202
    accepted = answer.json()
    assert accepted["id"] == "nightly-0001"
    assert accepted["status_url"].startswith("http://hooks.example/deliveries/")
    assert answer.headers["location"] == accepted["status_url"]
    with_outbox = Outbox(tmp_path / "outbox.sqlite3")
    entry = with_outbox.next_queued()
    with_outbox.close()
    assert entry is not None
    assert (entry.id, entry.parameters) == ("nightly-0001", {"config": "german"})

    path = accepted["status_url"].removeprefix("http://hooks.example")
    while (status := client.get(path).json())["problem"] is None:
        time.sleep(0.01)
    received = status.pop("received")
    assert received.startswith("20")
    assert received.endswith("+00:00")
    assert status == {
        "id": "nightly-0001",
        "deployment": "adapt/adapt",
        "state": "queued",
        "attempts": 0,
        "problem": "Prefect does not answer.",
        "flow_run": None,
    }
    assert client.get("/health").json() == {"queued": 1, "problem": "Prefect does not answer."}


def test_the_state_of_a_run_is_unknown_while_prefect_is_away(start: Start, tmp_path: Path):
    outbox = Outbox(tmp_path / "outbox.sqlite3")
    client = start()
    token = deliver(client, DELIVERY).json()["status_url"].rpartition("/")[2]
    entry = outbox.find(token)
    assert entry is not None
    outbox.dispatched(entry, "1f7c6a10-0000-4000-8000-000000000000")
    outbox.close()
    status = client.get(f"/deliveries/{token}").json()
    assert status["state"] == "dispatched"
    assert status["flow_run"] == {"id": "1f7c6a10-0000-4000-8000-000000000000", "state": None}


def test_a_state_that_prefect_refuses_to_tell_is_unknown(start: Start, tmp_path: Path):
    outbox = Outbox(tmp_path / "outbox.sqlite3")
    client = start(runs=refusing)
    token = deliver(client, DELIVERY).json()["status_url"].rpartition("/")[2]
    entry = outbox.find(token)
    assert entry is not None
    outbox.dispatched(entry, "1f7c6a10-0000-4000-8000-000000000000")
    outbox.close()
    answer = client.get(f"/deliveries/{token}")
    assert (answer.status_code, answer.json()["flow_run"]["state"]) == (200, None)


def test_a_receiver_that_makes_no_runs_any_more_is_not_healthy(start: Start):
    client = start()
    assert client.get("/health").status_code == 200
    assert client.portal is not None
    client.portal.call(client.app.state.work.cancel)  # pyright: ignore
    assert "not dispatching" in problem(client.get("/health"), 503)


def test_a_replay_is_refused_also_after_a_restart(start: Start):
    first = deliver(start(), DELIVERY).json()
    for client in (start(), start()):
        again = deliver(
            client, DELIVERY | {"parameters": {"config": "german", "vocabulary_size": 300}}
        )
        assert "came before: delivery nightly-0001 was taken already" in problem(again, 409)
        assert again.json()["status_url"] == first["status_url"]
    assert start().get("/health").json()["queued"] == 1


def test_secrets_are_exchanged_without_a_pause(start: Start):
    assert deliver(start((OLD_KEY,)), DELIVERY | {"id": "before-1"}, OLD_KEY).status_code == 202
    both = start((KEY, OLD_KEY))
    assert deliver(both, DELIVERY | {"id": "during-1"}, OLD_KEY).status_code == 202
    assert deliver(both, DELIVERY | {"id": "during-2"}).status_code == 202
    assert "bad signature" in problem(deliver(start(), DELIVERY, OLD_KEY), 401)


def test_nothing_unsigned_is_looked_into(start: Start):
    client = start()
    for body in (b"", b"{", b"\xff", b"[" * 100_000, json.dumps(DELIVERY).encode()):
        assert "bad signature" in problem(client.post("/deliveries", content=body), 401)
        stale = str(int(time.time()) - 301)
        headers = {"Tokgraft-Timestamp": stale, "Tokgraft-Signature": sign(KEY, stale, body)}
        answer = client.post("/deliveries", content=body, headers=headers)
        assert "at most 300 s are accepted" in problem(answer, 401)
    assert client.get("/health").json()["queued"] == 0


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 400, "bad JSON"),
        (b'{"id": "\xff"}', 400, "no UTF-8"),
        (b'{"id":"nightly-0001","deployment":"\\ud800"}', 400, "half of a surrogate pair"),
        (b"{}", 422, "id: Field required; deployment: Field required"),
        (DELIVERY | {"deployment": "compare/compare"}, 403, "'compare/compare' may not be run"),
        (DELIVERY | {"parameters": {"steps": 3}}, 422, "takes no 'steps' from here"),
        (DELIVERY | {"parameters": {"config": "x"}}, 422, "choose one of german"),
        (DELIVERY | {"parameters": {"run": {"corpus": 1}}}, 422, "run: model: Field required"),
    ],
)
def test_what_cannot_become_a_run_is_not_stored(start: Start, body: Any, status: int, said: str):
    client = start()
    assert said in problem(deliver(client, body), status)
    assert client.get("/health").json()["queued"] == 0


def test_a_whole_run_is_checked_and_stored(start: Start):
    client = start()
    run = yaml.safe_load((Path(__file__).parents[2] / "configs" / "german.yaml").read_text())
    assert deliver(client, DELIVERY | {"parameters": {"run": run}}).status_code == 202
    run["pretraining"]["sequence_length"] = -1
    answer = deliver(client, DELIVERY | {"id": "other-001", "parameters": {"run": run}})
    assert "pretraining.sequence_length" in problem(answer, 422)


@pytest.mark.parametrize("times", [1, 2, 20])
@pytest.mark.parametrize("declared", [True, False])
def test_a_body_over_the_limit_is_refused_while_it_is_read(
    start: Start, times: int, declared: bool
):
    client = start(max_body_bytes=1000)
    n_read = 0

    def parts() -> Iterator[bytes]:
        nonlocal n_read
        for _ in range(times * 10):
            n_read += 100
            yield b"x" * 100
        yield b"x"

    headers = {"Content-Length": str(times * 1000 + 1)} if declared else {}
    answer = client.post("/deliveries", content=parts(), headers=headers)
    assert "more than 1,000 bytes" in problem(answer, 413)


def test_a_body_that_does_not_come_is_not_waited_for(start: Start, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(body_module, "READ_SECONDS", 0.05)
    app = start().app
    sent: list[Any] = []

    async def receive() -> dict[str, object]:
        await asyncio.sleep(3600)
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/deliveries", "raw_path": b"/deliveries",
        "query_string": b"", "headers": [], "http_version": "1.1", "scheme": "http",
        "client": ("10.0.0.1", 1), "server": ("hooks.example", 80), "root_path": "",
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))  # pyright: ignore
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]


def test_too_many_requests_wait(start: Start):
    client = start(burst=3, requests_per_second=0.1)
    assert [client.get("/health").status_code for _ in range(3)] == [200] * 3
    answer = deliver(client, DELIVERY)
    assert "too many requests" in problem(answer, 429)
    assert 1 <= int(answer.headers["retry-after"]) <= 10


def test_a_full_disk_loses_nothing_that_was_taken(start: Start, tmp_path: Path):
    client = start()
    outbox = client.app.state.outbox  # pyright: ignore
    pages = outbox._database.execute("PRAGMA page_count").fetchone()[0]
    outbox._database.execute(f"PRAGMA max_page_count={pages + 2}")
    taken: list[str] = []
    for number in range(100):
        body = DELIVERY | {"id": f"number-{number:03d}"}
        answer = deliver(client, body)
        if answer.status_code != 202:
            break
        taken.append(body["id"])
    assert "not stored: nothing was stored" in problem(answer, 503)
    assert taken
    assert client.get("/health").json()["queued"] == len(taken)
    outbox._database.execute("PRAGMA max_page_count=100000")
    assert deliver(client, body).status_code == 202


def test_other_addresses_and_methods_get_json_too(start: Start):
    client = start()
    assert "there is no GET /etc/passwd" in problem(client.get("/etc/passwd"), 404)
    assert "no delivery has this status_url" in problem(client.get("/deliveries/x%00"), 404)
    wrong = client.put("/deliveries", content=b"")
    assert "there is no PUT /deliveries" in problem(wrong, 405)
    assert wrong.headers["allow"] == "POST"
    beside = client.post("/deliveries/", content=b"", follow_redirects=False)
    assert "there is no POST /deliveries/" in problem(beside, 404)


@pytest.mark.parametrize(
    "run",
    [
        {f"name{number}": 1 for number in range(9000)},
        {"x" * 200_000: 1},
        {"tokenizer": {"method": "x" * 200_000}},
        {"corpus": {"sources": [{}] * 9000}},
    ],
    ids=["many names", "a long name", "a long value", "many parts"],
)
def test_a_refusal_is_short_whatever_was_sent(start: Start, run: dict[str, Any]):
    answer = deliver(start(), DELIVERY | {"parameters": {"run": run}})
    assert "run: model: Field required" in problem(answer, 422)
    assert len(answer.content) < 5000


def test_the_interface_is_described(start: Start):
    client = start()
    document = client.get("/openapi.json").json()
    openapi_spec_validator.validate(document)
    assert document == json.loads(json.dumps(openapi_document("http://hooks.example")))
    assert document["servers"] == [{"url": "http://hooks.example"}]
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for path in document["paths"]:
        assert path in page.text
    assert "<script" not in page.text


def test_the_page_escapes_what_it_shows():
    document = openapi_document("http://hooks.example")
    document["info"]["title"] = "<script>x</script>"
    assert "<script" not in openapi_page(document)
