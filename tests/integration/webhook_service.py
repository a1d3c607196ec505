"""A receiver and a Prefect server as processes of their own, and a sender of many deliveries."""

import asyncio
import hashlib
import hmac
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import yaml

from flows import embedded
from flows.prefect_process import answers, start_server
from infra.process_tree import end
from infra.webhook.answers import Accepted
from infra.webhook.openapi import openapi_document
from infra.webhook.refusal import Problem

SECRET = "It is a secret of 32 characters."
DEPLOYMENT = "nightly/small"
NO_PREFECT = "http://127.0.0.1:9/api"
NO_RATE = {"requests_per_second": 1e6, "burst": 1_000_000}
DESCRIBED = openapi_document("http://127.0.0.1")
ALLOWED = {"deployments": {DEPLOYMENT: {"parameters": {"n": "integer"}}}}


def wait_for(condition: Callable[[], Any], seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.1)
    return found


class Prefect:
    """A Prefect server on one port and one database, which can go away and come back."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._port = embedded._free_port()
        self.url = f"http://127.0.0.1:{self._port}/api"
        self._flow = ""
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {
            "PREFECT_HOME": str(self._home),
            # No worker takes these runs. To mark each as late keeps SQLite locked for a minute.
            "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "3600",
        }
        log = self._home / "log"
        with patch.dict(os.environ, environment):
            self._server = start_server("127.0.0.1", self._port, log, {})
        assert answers(self._server, f"http://127.0.0.1:{self._port}"), log.read_text()

    def stop(self) -> None:
        if self._server is not None:
            end(self._server, 5.0)
            self._server = None

    def kill(self) -> None:
        """End it without a word to anyone."""
        assert self._server is not None
        self._server.kill()
        self._server.wait()
        self._server = None

    def deploy(self, full_name: str = DEPLOYMENT, **schema: Any) -> None:
        """A deployment, which takes an integer n; no worker, so that its runs stay scheduled."""
        name, deployment = full_name.split("/")
        self._flow = self._create("flows/", name=name)["id"]
        properties = {"n": {"type": "integer", "maximum": 1000}}
        schema = {"type": "object"} | (schema or {"properties": properties})
        self._create(
            "deployments/", name=deployment, flow_id=self._flow, enforce_parameter_schema=True,
            parameter_openapi_schema=schema,
        )  # fmt: skip

    def undeploy(self) -> None:
        """Delete the flow with its deployment and runs."""
        url = f"{self.url}/flows/{self._flow}"
        wait_for(lambda: httpx.delete(url, timeout=60).status_code in (204, 404), 300)

    @contextmanager
    def deployed(self) -> Iterator[None]:
        """A deployment for the block."""
        self.deploy()
        try:
            yield
        finally:
            if self._server is None:
                self.start()
            self.undeploy()

    def runs(self) -> list[dict[str, Any]]:
        answer = httpx.post(f"{self.url}/flow_runs/filter", json={"limit": 200}, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def keys(self) -> list[str]:
        return sorted(run["idempotency_key"] for run in self.runs())

    def _create(self, path: str, **body: Any) -> dict[str, Any]:
        """A server that has just started may still answer that it is busy."""

        def created() -> Any:
            answer = httpx.post(f"{self.url}/{path}", json=body, timeout=30)
            return answer.json() if answer.status_code in (200, 201) else None

        return wait_for(created, 300)


@dataclass
class Webhook:
    """`tokgraft webhook` on its own port; started again, it has the same outbox."""

    folder: Path
    prefect_url: str = NO_PREFECT
    """By default nobody is there, and all that is taken stays in the outbox."""
    limits: dict[str, Any] = field(default_factory=dict)
    """And deployments, in place of those of the allow-list that there is by default."""
    port: int = field(default_factory=embedded._free_port)
    process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "allow.yaml").write_text(yaml.safe_dump(ALLOWED | self.limits))
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                [
                    str(Path(sys.executable).with_name("tokgraft")), "webhook",
                    str(self.folder / "allow.yaml"), "--port", str(self.port),
                ],
                env={
                    **os.environ, "TOKGRAFT_WEBHOOK_SECRET": SECRET,
                    "TOKGRAFT_DATA_FOLDER": str(self.folder), "PREFECT_API_URL": self.prefect_url,
                    "PREFECT_HOME": str(self.folder / "prefect"),
                },
                stdout=log, stderr=log, text=True,
            )  # fmt: skip
        wait_for(self._answers, 300)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        try:
            return httpx.get(f"{self.url}/health", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def end(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout=60)

    def deliver(self, **changes: Any) -> httpx.Response:
        request = delivery(**changes)
        return httpx.post(
            f"{self.url}/deliveries", content=request.body, headers=request.headers, timeout=30
        )

    def queued(self) -> int:
        return httpx.get(f"{self.url}/health", timeout=30).json()["queued"]

    def stored(self) -> dict[str, tuple[str, str]]:
        """Deployment and parameters of all that the outbox holds, by id."""
        file = self.folder / "webhook" / "outbox.sqlite3"
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as outbox:
            rows = outbox.execute("SELECT id, deployment, parameters FROM deliveries").fetchall()
        return {id_: (deployment, canonical(json.loads(rest))) for id_, deployment, rest in rows}


def canonical(values: Any) -> str:
    """Tells 1 from 1.0 and True, which Python calls equal."""
    return json.dumps(values, sort_keys=True)


def check_shape(status: int, content_type: str, content: bytes) -> dict[str, Any]:
    """One JSON object, with the members that are described for this status."""
    described = DESCRIBED["paths"]["/deliveries"]["post"]["responses"][str(status)]
    assert [content_type] == list(described["content"])
    kind = Accepted if status == 202 else Problem
    more = {"id", "status_url"} if status == 409 else set[str]()
    said = json.loads(content)
    kind.model_validate(said, strict=True)
    assert set(said) == set(kind.model_fields) | more
    assert said.get("status", status) == status
    assert len(content) < 10_000
    return said


@contextmanager
def running(webhook: Webhook) -> Iterator[Webhook]:
    try:
        webhook.start()
        yield webhook
    finally:
        if webhook.process is not None and webhook.process.poll() is None:
            webhook.process.kill()
            webhook.process.wait()


@dataclass(frozen=True)
class Request:
    """A delivery as it goes over the wire."""

    body: bytes
    headers: dict[str, str]


def delivery(
    *, secret: str = SECRET, age_seconds: int = 0, body: bytes | None = None, **changes: Any
) -> Request:
    """A delivery signed by the standard library alone."""
    if body is None:
        values = {"id": "delivery-1", "deployment": DEPLOYMENT, "parameters": {"n": 1}} | changes
        body = json.dumps(values).encode()
    timestamp = str(int(time.time()) - age_seconds)
    signature = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    headers = {
        "Tokgraft-Timestamp": timestamp,
        "Tokgraft-Signature": f"sha256={signature.hexdigest()}",
    }
    return Request(body, headers)


@dataclass(frozen=True)
class Answer:
    """What came back, and after how long."""

    status: int
    seconds: float


def send_at_once(port: int, requests: Sequence[Request]) -> list[Answer]:
    """Send all at the same time, each over a connection of its own; times include connecting."""

    async def send_all() -> list[Answer]:
        return await asyncio.gather(*(_send(port, request) for request in requests))

    return asyncio.run(send_all())


async def _send(port: int, request: Request) -> Answer:
    lines = [
        "POST /deliveries HTTP/1.1", "Host: 127.0.0.1", "Connection: close",
        f"Content-Length: {len(request.body)}",
        *(f"{name}: {value}" for name, value in request.headers.items()),
    ]  # fmt: skip
    message = "\r\n".join(lines).encode() + b"\r\n\r\n" + request.body
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(message)
    answer = await reader.read()
    seconds = time.perf_counter() - began
    writer.close()
    await writer.wait_closed()
    return Answer(int(answer.split(b" ", 2)[1]), seconds)


def mixed_deliveries(n: int) -> tuple[list[Request], list[str]]:
    """n deliveries of which half are good; a quarter repeat good ones, a quarter are invalid.

    Returns:
        All in an order where each kind is spread over the whole, and the ids of the good ones.
    """
    ids = [f"delivery-{number:04d}" for number in range(n // 2)]
    good = [delivery(id=id_, parameters={"n": number}) for number, id_ in enumerate(ids)]
    repeated = good[: n // 4]
    kinds: list[Callable[[str], Request]] = [
        lambda id_: delivery(id=id_, secret="not the secret, but as long as it"),
        lambda id_: delivery(id=id_, age_seconds=400),
        lambda id_: delivery(id=id_, deployment="other/other"),
        lambda id_: delivery(id=id_, parameters={"m": 1}),
        lambda _: delivery(body=b'{"id": '),
    ]
    invalid = [kinds[number % len(kinds)](f"invalid-{number:04d}") for number in range(n // 4)]
    mixed: list[Request] = []
    for number in range(n // 4):
        pair = good[2 * number : 2 * number + 2]
        mixed += [pair[0], invalid[number], pair[1], repeated[number]]
    return mixed, ids
