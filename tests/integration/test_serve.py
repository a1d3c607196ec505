"""`tokgraft serve` on two machines of one server: runs go on elsewhere, and wait for each other."""

import copy
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from faulty_proxy import Fault, faulty_proxy
from s3_server import BUCKET
from webhook_service import Prefect, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

HELD = "general.txt"
"""Object of a source that a test lets nobody read for a while."""


@dataclass
class Worker:
    """A `tokgraft serve` with a data folder of its own, as another machine has it."""

    name: str
    place: Path
    url: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")},
            "PREFECT_API_URL": self.url,
            "PREFECT_HOME": str(self.place / self.name / "prefect"),
            "PREFECT_RUNNER_POLL_FREQUENCY": "2",
            "TOKGRAFT_CONFIGS": str(self.place / "configs"),
            "TOKGRAFT_DATA_FOLDER": str(self.place / self.name),
            "TOKGRAFT_STORE": str(self.place / "store"),
            "TOKGRAFT_LOG_FORMAT": "text",
        }

    def start(self) -> None:
        with (self.place / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "flows.cli", "serve"],
                env=self.environment, stdout=log, stderr=log,
            )  # fmt: skip

    def tokgraft(self, *arguments: str) -> None:
        command = [sys.executable, "-P", "-m", "flows.cli", *arguments]
        subprocess.run(command, env=self.environment, timeout=900, check=True)

    def end(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(timeout=30)
        self.process = None
        return code

    def has(self, run: str) -> bool:
        return (self.place / self.name / "at_work" / run).exists()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Prefect]:
    monkeypatch.setenv("PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS", "2")
    monkeypatch.setenv("PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS", "5")
    (tmp_path / "server").mkdir()
    prefect = Prefect(tmp_path / "server")
    prefect.start()
    yield prefect
    prefect.stop()


@pytest.fixture
def workers(
    tmp_path: Path, server: Prefect, tiny_run: dict[str, Any]
) -> Iterator[tuple[Worker, Worker]]:
    (tmp_path / "configs").mkdir()
    run = copy.deepcopy(tiny_run)
    # Steps without end, so that a run is at work whenever a test looks.
    long = {"unit": "bytes", "amount": 4_000_000_000}
    run["pretraining"]["phases"] = [{"trainable": "all", "budget": long}]
    run["pretraining"]["max_epochs"] = 100_000
    (tmp_path / "configs" / "long.yaml").write_text(yaml.safe_dump(run))
    both = Worker("one", tmp_path, server.url), Worker("other", tmp_path, server.url)
    yield both
    for worker in both:
        if worker.process is not None:
            worker.end(signal.SIGKILL)


@pytest.mark.long
def test_a_run_goes_on_where_a_worker_is_and_is_taken_from_none(
    server: Prefect, workers: tuple[Worker, Worker]
):
    one, other = workers

    def state(run: str) -> tuple[str, int]:
        found = httpx.get(f"{server.url}/flow_runs/{run}", timeout=60).json()
        return found["state"]["name"], found["run_count"]

    one.start()
    named = f"{server.url}/deployments/name/adapt/tokgraft"
    wait_for(lambda: httpx.get(named, timeout=60).status_code == 200, 900)
    url = f"{server.url}/deployments/{httpx.get(named).json()['id']}/create_flow_run"
    asked = {"parameters": {"config": "long.yaml"}, "idempotency_key": "one"}
    run = wait_for(lambda: httpx.post(url, json=asked, timeout=60).json().get("id"), 300)
    wait_for(lambda: one.has(run), 900)

    # A worker that comes and one that goes leave alone what works elsewhere.
    registered = httpx.get(named).json()["updated"]
    other.start()
    wait_for(lambda: httpx.get(named, timeout=60).json()["updated"] != registered, 900)
    assert other.end() in (0, -signal.SIGTERM)  # it may be about to begin its work
    assert state(run) == ("Running", 1)

    # Told to end, a worker lets its run go; another one takes it, as in a rolling restart.
    assert one.end() == 0
    assert state(run) == ("AwaitingRetry", 1)
    other.start()
    wait_for(lambda: other.has(run), 900)
    assert state(run) == ("Running", 2)

    # Killed, it cannot say so; its successor on the same machine does, and one elsewhere does not.
    other.end(signal.SIGKILL)
    one.start()
    wait_for(lambda: httpx.get(named, timeout=60).json()["updated"] != registered, 900)
    assert state(run) == ("Running", 2)
    one.end()
    assert other.has(run)
    other.start()
    wait_for(lambda: state(run) == ("Running", 3), 900)


@pytest.mark.long
def test_scheduled_runs_wait_for_the_one_at_work_although_a_worker_is_free(
    server: Prefect,
    workers: tuple[Worker, Worker],
    tiny_run: dict[str, Any],
    s3: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    s3.create_bucket(Bucket=BUCKET)
    s3.upload_file(str(tmp_path / HELD), BUCKET, HELD)
    tiny_run["corpus"]["sources"][1]["paths"] = [f"s3://{BUCKET}/{HELD}"]
    (tmp_path / "configs" / "held.yaml").write_text(yaml.safe_dump(tiny_run))

    def runs() -> list[dict[str, Any]]:
        """Those that a worker has asked for."""
        found = httpx.post(f"{server.url}/flow_runs/filter", json={}, timeout=60).json()
        return [run for run in found if run["state"]["name"] != "Scheduled"]

    def two_wait() -> bool:
        states = Counter(run["state"]["name"] for run in runs())
        assert states.pop("Running") == 1
        assert set(states) <= {"AwaitingConcurrencySlot"}
        return states.total() >= 2

    def times(run: dict[str, Any], name: str) -> list[str]:
        """When it came into that state, as often as it did."""
        asked = {"flow_run_id": run["id"]}
        found = httpx.get(f"{server.url}/flow_run_states/", params=asked, timeout=60).json()
        return [state["timestamp"] for state in found if state["name"] == name]

    with faulty_proxy(os.environ["AWS_ENDPOINT_URL"]) as bucket:
        monkeypatch.setenv("AWS_ENDPOINT_URL", bucket.url)
        monkeypatch.setenv("TOKGRAFT_STORE_TIMEOUT_SECONDS", "3600")
        may_be_read = threading.Event()
        bucket.faults.append(Fault(path=HELD, held_until=may_be_read))
        try:
            for worker in workers:
                worker.start()
            named = f"{server.url}/deployments/name/adapt/tokgraft"
            wait_for(lambda: httpx.get(named, timeout=60).status_code == 200, 900)
            workers[0].tokgraft("schedule", "held.yaml", "* * * * *")
            wait_for(lambda: bucket.count("GET", HELD), 900)
            [first] = runs()
            wait_for(two_wait, 900)
            workers[0].tokgraft("schedule", "held.yaml", "--off")
            assert two_wait()
        finally:
            may_be_read.set()
        ends = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
        wait_for(lambda: all(run["state"]["type"] in ends for run in runs()), 900)

    in_order = sorted(runs(), key=lambda run: times(run, "Running")[0])
    assert in_order[0]["id"] == first["id"]
    assert len(in_order) >= 3
    assert all(run["auto_scheduled"] for run in in_order)
    # Each began once and ended well; after the first, each waited for its turn.
    began = [_time(*times(run, "Running")) for run in in_order]
    ended = [_time(*times(run, "Completed")) for run in in_order]
    assert all(times(run, "AwaitingConcurrencySlot") for run in in_order[1:])
    assert all(_time(run["expected_start_time"]) < ended[0] for run in in_order)
    assert all(end <= begin for end, begin in zip(ended[:-1], began[1:], strict=True))


def _time(one: str) -> datetime:
    return datetime.fromisoformat(one)
