"""Deliveries to runs with real processes: a receiver that is killed, a Prefect that is away."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from webhook_service import (
    DEPLOYMENT,
    SECRET,
    Prefect,
    Webhook,
    delivery,
    mixed_deliveries,
    running,
    send_at_once,
    wait_for,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
SENDER = Path(__file__).parents[2] / "configs" / "webhook" / "send.sh"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefect]:
    prefect = Prefect(tmp_path_factory.mktemp("prefect"))
    prefect.start()
    try:
        yield prefect
    finally:
        prefect.stop()


@pytest.fixture
def prefect(server: Prefect) -> Iterator[Prefect]:
    with server.deployed():
        yield server


@pytest.fixture
def webhook(tmp_path: Path, prefect: Prefect) -> Iterator[Webhook]:
    with running(Webhook(tmp_path / "webhook", prefect.url)) as webhook:
        yield webhook


def test_a_delivery_becomes_a_run_and_its_status_follows(webhook: Webhook, prefect: Prefect):
    status_url = webhook.deliver(parameters={"n": 7}).json()["status_url"]
    status = wait_for(
        lambda: (s := httpx.get(status_url).json())["state"] == "dispatched" and s, 300
    )
    [run] = prefect.runs()
    assert status["flow_run"] == {"id": run["id"], "state": "Scheduled"}
    assert (run["parameters"], run["idempotency_key"]) == ({"n": 7}, "delivery-1")
    assert "webhook" in run["tags"]

    done = {"state": {"type": "COMPLETED", "name": "Completed"}, "force": True}
    httpx.post(f"{prefect.url}/flow_runs/{run['id']}/set_state", json=done).raise_for_status()
    assert httpx.get(status_url).json()["flow_run"]["state"] == "Completed"
    httpx.delete(f"{prefect.url}/flow_runs/{run['id']}").raise_for_status()
    assert httpx.get(status_url).json()["flow_run"]["state"] == "Deleted"

    # What Prefect itself refuses fails for good, and holds up nothing.
    refused = webhook.deliver(id="delivery-2", parameters={"n": 1001}).json()["status_url"]
    status = wait_for(lambda: (s := httpx.get(refused).json())["state"] == "failed" and s, 900)
    assert "1001 is greater than the maximum of 1000" in status["problem"]
    assert webhook.deliver().status_code == 409

    began = time.monotonic()
    assert webhook.end() == 0
    assert time.monotonic() - began < 10
    assert "Traceback" not in webhook.log()


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
def test_the_example_sender(webhook: Webhook):
    def send(body: dict[str, object]) -> tuple[int, dict[str, object]]:
        done = subprocess.run(
            ["sh", str(SENDER), webhook.url, json.dumps(body)],
            env={**os.environ, "TOKGRAFT_WEBHOOK_SECRET": SECRET},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return done.returncode, json.loads(done.stdout)

    body = {"id": "sender-01", "deployment": DEPLOYMENT, "parameters": {"n": 1}}
    code, answer = send(body)
    assert (code, answer["id"]) == (0, "sender-01")
    code, answer = send(body)  # a retry is no failure
    assert (code, answer["title"]) == (0, "came before")
    # A quote and letters beyond ASCII come through the shell as they were signed.
    code, answer = send(body | {"id": "sender-02", "parameters": {"n'\"ü": 1}})
    assert (code, answer["status"]) == (1, 422)


def test_killed_between_insert_and_dispatch(webhook: Webhook, prefect: Prefect):
    prefect.stop()
    for number in range(5):
        assert webhook.deliver(id=f"delivery-{number}").status_code == 202
    assert webhook.end(signal.SIGKILL) == -signal.SIGKILL
    prefect.start()
    assert prefect.runs() == []
    webhook.start()
    wait_for(lambda: webhook.queued() == 0, 900)
    assert prefect.keys() == [f"delivery-{number}" for number in range(5)]
    assert webhook.deliver(id="delivery-3").status_code == 409


@pytest.mark.long
def test_killed_at_any_moment(webhook: Webhook, prefect: Prefect):
    draw = random.Random(0)
    ids: list[str] = []
    for round_ in range(4):
        sent = [f"delivery-{round_}-{number:02d}" for number in range(20)]
        assert {a.status for a in send_at_once(webhook.port, [delivery(id=i) for i in sent])} == {
            202
        }
        ids += sent
        time.sleep(draw.random())  # some are dispatched by now, and one is on its way
        webhook.end(signal.SIGKILL)
        webhook.start()
    wait_for(lambda: webhook.queued() == 0, 900)
    assert prefect.keys() == sorted(ids)


@pytest.mark.long
def test_prefect_goes_away_and_comes_back(webhook: Webhook, prefect: Prefect):
    webhook.deliver(id="before-1")
    wait_for(lambda: webhook.queued() == 0, 900)
    prefect.stop()
    status_url = webhook.deliver(id="during-1").json()["status_url"]
    problem = wait_for(lambda: httpx.get(status_url).json()["problem"], 900)
    assert "Prefect does not answer" in problem
    prefect.start()
    assert webhook.deliver(id="after-01").status_code == 202
    wait_for(lambda: webhook.queued() == 0, 900)
    assert prefect.keys() == ["after-01", "before-1", "during-1"]
    assert httpx.get(f"{webhook.url}/health").json() == {"queued": 0, "problem": None}


@pytest.mark.long
def test_a_deployment_that_is_made_anew_is_found(webhook: Webhook, prefect: Prefect):
    webhook.deliver(id="before-1")
    wait_for(lambda: webhook.queued() == 0, 900)
    prefect.undeploy()
    status_url = webhook.deliver(id="during-1").json()["status_url"]
    problem = wait_for(lambda: httpx.get(status_url).json()["problem"], 900)
    assert "Prefect has no deployment nightly/small; `tokgraft up` registers ours" in problem
    prefect.deploy()
    wait_for(lambda: webhook.queued() == 0, 900)
    assert prefect.keys() == ["during-1"]


@pytest.mark.long
def test_200_at_once_half_of_them_good(webhook: Webhook, prefect: Prefect):
    requests, ids = mixed_deliveries(200)
    answers = send_at_once(webhook.port, requests)
    assert Counter(answer.status for answer in answers) == {
        202: 100, 409: 50, 401: 20, 403: 10, 422: 10, 400: 10
    }  # fmt: skip
    wait_for(lambda: webhook.queued() == 0, 900)
    assert prefect.keys() == ids
    # And all again: none is good now.
    again = Counter(answer.status for answer in send_at_once(webhook.port, requests))
    assert again[202] == 0
    assert again[409] + again[429] >= 100
    assert len(prefect.runs()) == 100
