"""`tokgraft serve` on two machines of one server: each gives back its own runs and no others."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from webhook_service import Prefect, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@dataclass
class Worker:
    """A `tokgraft serve` with a data folder of its own, as another machine has it."""

    name: str
    place: Path
    url: str
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")},
            "PREFECT_API_URL": self.url,
            "PREFECT_HOME": str(self.place / self.name / "prefect"),
            "PREFECT_RUNNER_POLL_FREQUENCY": "2",
            "TOKGRAFT_CONFIGS": str(self.place / "configs"),
            "TOKGRAFT_DATA_FOLDER": str(self.place / self.name),
            "TOKGRAFT_STORE": str(self.place / "store"),
            "TOKGRAFT_LOG_FORMAT": "text",
        }
        with (self.place / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "flows.cli", "serve"],
                env=environment, stdout=log, stderr=log,
            )  # fmt: skip

    def end(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(timeout=30)
        self.process = None
        return code

    def has(self, run: str) -> bool:
        return (self.place / self.name / "at_work" / run).exists()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Prefect]:
    (tmp_path / "server").mkdir()
    prefect = Prefect(tmp_path / "server")
    prefect.start()
    yield prefect
    prefect.stop()


@pytest.fixture
def workers(
    tmp_path: Path, server: Prefect, write_run: Callable[[Path], dict[str, Any]]
) -> Iterator[tuple[Worker, Worker]]:
    (tmp_path / "configs").mkdir()
    run = write_run(tmp_path)
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


def test_a_run_goes_on_where_a_worker_is_and_is_taken_from_none(
    server: Prefect, workers: tuple[Worker, Worker]
):
    one, other = workers

    def state(run: str) -> tuple[str, int]:
        found = httpx.get(f"{server.url}/flow_runs/{run}", timeout=60).json()
        return found["state"]["name"], found["run_count"]

    one.start()
    named = f"{server.url}/deployments/name/adapt/tokgraft"
    wait_for(lambda: httpx.get(named, timeout=60).status_code == 200, 200)
    url = f"{server.url}/deployments/{httpx.get(named).json()['id']}/create_flow_run"
    asked = {"parameters": {"config": "long.yaml"}, "idempotency_key": "one"}
    run = wait_for(lambda: httpx.post(url, json=asked, timeout=60).json().get("id"), 60)
    wait_for(lambda: one.has(run), 200)

    # A worker that comes and one that goes leave alone what works elsewhere.
    registered = httpx.get(named).json()["updated"]
    other.start()
    wait_for(lambda: httpx.get(named, timeout=60).json()["updated"] != registered, 200)
    assert other.end() in (0, -signal.SIGTERM)  # it may be about to begin its work
    assert state(run) == ("Running", 1)

    # Told to end, a worker lets its run go; another one takes it, as in a rolling restart.
    assert one.end() == 0
    assert state(run) == ("AwaitingRetry", 1)
    assert not one.has(run)
    other.start()
    wait_for(lambda: other.has(run), 200)
    assert state(run) == ("Running", 2)

    # Killed, it cannot say so; its successor on the same machine does, and one elsewhere does not.
    other.end(signal.SIGKILL)
    one.start()
    wait_for(lambda: httpx.get(named, timeout=60).json()["updated"] != registered, 200)
    assert state(run) == ("Running", 2)
    one.end()
    assert other.has(run)
    other.start()
    wait_for(lambda: state(run) == ("Running", 3), 200)
