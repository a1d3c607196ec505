"""`tokgraft up` for real: runs are asked for over the API, work, wait, end and go on."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
import yaml
from webhook_service import SECRET, delivery

from infra.process_tree import descendants

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ALLOWED = {
    "adapt/tokgraft": {
        "parameters": {
            "config": {"type": "string", "choices": ["tiny.yaml"]},
            "vocabulary_size": "integer",
        }
    }
}
LOOKS = {"corpus_lock", "model_lock"}
"""Stages that look at their files in every run."""
PARTS = ("server", "worker", "webhook")
ONE_LINE = dict(capture_output=True, text=True, timeout=900, check=False)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition: Callable[[], Any], seconds: float = 900) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.3)
    return found


@dataclass
class Up:
    """One `tokgraft up`, its API, and what a test asks of it."""

    place: Path
    port: int
    webhook: int = field(default_factory=free_port)
    """Port of its webhook receiver."""
    process: subprocess.Popen[str] | None = None
    deployments: dict[str, str] = field(default_factory=dict)
    allowed: dict[str, Any] = field(default_factory=lambda: ALLOWED)
    """Deployments of the receiver's allow-list."""
    options: tuple[str, ...] = ()
    """More on its command line."""
    variables: dict[str, str] = field(default_factory=dict)
    """More in its environment."""

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "TOKGRAFT_"))}
        return {
            **kept,
            "TOKGRAFT_STORE": str(self.place / "store"),
            "TOKGRAFT_CACHE_DIR": str(self.place / "cache"),
            "TOKGRAFT_DATA_FOLDER": str(self.place / "data"),
            "TOKGRAFT_N_PROCESSES": "1",
            "TOKGRAFT_N_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
            "TOKGRAFT_WEBHOOK_SECRET": SECRET,
            **self.variables,
        }

    @property
    def command(self) -> list[str]:
        configs = ["--configs", str(self.place / "configs")]
        hook = ["--webhook", str(self.place / "allow.yaml"), "--webhook-port", str(self.webhook)]
        where = ["--port", str(self.port), *configs, *hook, *self.options]
        return [sys.executable, "-m", "flows.cli", "up", *where]

    def start(self) -> None:
        (self.place / "allow.yaml").write_text(yaml.safe_dump({"deployments": self.allowed}))
        with (self.place / "out").open("w") as out:
            self.process = subprocess.Popen(
                self.command, env=self.environment, stdout=out, stderr=out, text=True
            )

        def ready() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, (self.place / "out").read_text()
            return "logs" in (self.place / "out").read_text()

        wait_for(ready, 900)

    def tokgraft(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**self.environment, "PREFECT_API_URL": f"http://127.0.0.1:{self.port}/api"}
        command = [sys.executable, "-m", "flows.cli", *arguments]
        return subprocess.run(command, env=environment, **ONE_LINE)

    def end(self, number: int = signal.SIGTERM) -> float:
        """Seconds until it and everything that it started were gone."""
        assert self.process is not None
        below = descendants(self.process.pid)
        assert len(below) >= len(PARTS)
        began = time.monotonic()
        self.process.send_signal(number)
        assert self.process.wait(timeout=30) == 0, (self.place / "out").read_text()
        took = time.monotonic() - began
        assert [pid for pid in below if _is_alive(pid)] == []
        return took

    def ask(self, method: str, path: str, **body: Any) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/{path}"
        name, _, password = self.variables.get("PREFECT_SERVER_API_AUTH_STRING", "").partition(":")
        auth = (name, password) if name else None
        # A busy server says so, and expects to be asked again.
        answer = wait_for(
            lambda: (
                (
                    answer := httpx.request(method, url, json=body or None, auth=auth, timeout=60)
                ).status_code
                != 503
                and answer
            )
        )
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def begin(self, flow: str, **parameters: Any) -> str:
        deployment = self.ask("GET", f"deployments/name/{flow}/tokgraft")["id"]
        path = f"deployments/{deployment}/create_flow_run"
        return self.ask("POST", path, parameters=parameters)["id"]

    def state(self, run: str) -> dict[str, Any]:
        return self.ask("GET", f"flow_runs/{run}")["state"]

    def wait_until(self, run: str, *states: str, seconds: float = 900) -> dict[str, Any]:
        def there() -> dict[str, Any] | None:
            state = self.state(run)
            return state if state["type"] in states else None

        return wait_for(there, seconds)

    def stages(self, run: str) -> dict[str, str]:
        """How each stage of a run ended, by name."""
        found = self.ask("POST", "task_runs/filter", flow_runs={"id": {"any_": [run]}})
        found.sort(key=lambda one: one["created"])  # of one that ran twice, the second
        return {one["name"].split()[0]: one["state_name"] for one in found}

    def ended_stages(self, run: str) -> dict[str, str]:
        """The same once all have ended: a server learns of it a moment after the run's end."""

        def ended() -> dict[str, str] | None:
            stages = self.stages(run)
            return None if {"Running", "Pending"} & set(stages.values()) else stages

        return wait_for(ended)

    def wait_for_training(self) -> int:
        """Its process id once a Ray works below it."""
        assert self.process is not None
        ours = self.process.pid
        wait_for(lambda: any("raylet" in _command(pid) for pid in descendants(ours)))
        return ours

    def runs_due(self) -> list[dict[str, Any]]:
        """Runs at work, and those that wait for the worker."""
        states = {"type": {"any_": ["RUNNING", "PENDING", "SCHEDULED"]}}
        found = self.ask("POST", "flow_runs/filter", flow_runs={"state": states})
        soon = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
        return [run for run in found if run["expected_start_time"] < soon]

    def set_state(self, run: str, **state: Any) -> None:
        self.ask("POST", f"flow_runs/{run}/set_state", state=state)


def _is_alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory, write_run: Callable[[Path], dict]) -> Iterator[Up]:
    place = tmp_path_factory.mktemp("up")
    (place / "configs").mkdir()
    run = write_run(place)
    (place / "configs" / "tiny.yaml").write_text(yaml.safe_dump(run))
    # Steps without end, so that a test can come in between.
    long = {"unit": "bytes", "amount": 4_000_000}
    run["pretraining"]["phases"] = [{"trainable": "all", "budget": long}]
    run["pretraining"]["max_epochs"] = 100
    (place / "configs" / "long.yaml").write_text(yaml.safe_dump(run))
    mondays = {"config": "long.yaml", "cron": "0 3 * * 1", "timezone": "Europe/Berlin"}
    (place / "configs" / "schedules.yaml").write_text(yaml.safe_dump({"schedules": [mondays]}))
    started = Up(place, free_port())
    started.start()
    yield started
    assert started.process is not None
    if started.process.poll() is None:
        started.end()


@pytest.mark.long
def test_a_run_asked_for_completes_and_the_next_finds_it_all_done(up: Up):
    first = up.begin("adapt", config="tiny.yaml")
    assert up.wait_until(first, "COMPLETED", "FAILED", "CRASHED")["type"] == "COMPLETED"
    assert up.ask("GET", f"flow_runs/{first}")["name"] == "tiny"
    ended = up.ended_stages(first)
    assert {"corpus", "tokenizer", "embedding", "pretraining", "report"} <= set(ended)
    assert set(ended.values()) == {"Completed"}
    second = up.begin("adapt", config="tiny.yaml", refresh=True)
    assert up.wait_until(second, "COMPLETED", "FAILED")["type"] == "COMPLETED"
    assert up.ask("GET", f"flow_runs/{second}")["name"] == "tiny, refresh True"
    assert {k for k, v in up.ended_stages(second).items() if v != "Cached"} == LOOKS


@pytest.mark.long
def test_a_retried_run_finds_what_stands(up: Up):
    run = up.begin("adapt", config="tiny.yaml")
    up.wait_until(run, "COMPLETED")
    # What the button of Prefect's UI sends.
    again = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Retry from the UI"}
    up.ask("POST", f"flow_runs/{run}/set_state", state=again, force=True)
    wait_for(lambda: up.ask("GET", f"flow_runs/{run}")["run_count"] == 2)
    assert up.wait_until(run, "COMPLETED", "FAILED")["type"] == "COMPLETED"
    assert {k for k, v in up.ended_stages(run).items() if v != "Cached"} == LOOKS


@pytest.mark.long
def test_a_model_is_measured(up: Up):
    run = up.begin("evaluate", config="tiny.yaml")
    assert up.wait_until(run, "COMPLETED", "FAILED")["type"] == "COMPLETED"
    shown = up.ask("POST", "artifacts/filter", flow_runs={"id": {"any_": [run]}})
    table = next(one["data"] for one in shown if one["key"] == "measures")
    assert "| heldout | all |" in table


@pytest.mark.long
def test_a_delivery_becomes_a_run_that_completes(up: Up):
    def deliver(id_: str, **parameters: Any) -> httpx.Response:
        signed = delivery(id=id_, deployment="adapt/tokgraft", parameters=parameters)
        url = f"http://127.0.0.1:{up.webhook}/deliveries"
        return httpx.post(url, content=signed.body, headers=signed.headers, timeout=60)

    refused = deliver("delivery-0", config="tiny.yaml", vocabulary_size=0)
    assert refused.status_code == 422
    assert "vocabulary_size: Input should be greater than 0" in refused.text
    taken = deliver("delivery-1", config="tiny.yaml", vocabulary_size=44)
    assert taken.status_code == 202
    assert deliver("delivery-1", config="tiny.yaml", vocabulary_size=44).status_code == 409
    status = taken.json()["status_url"]
    run = wait_for(lambda: httpx.get(status).json().get("flow_run"))["id"]
    assert up.wait_until(run, "COMPLETED", "FAILED")["type"] == "COMPLETED"
    assert up.ask("GET", f"flow_runs/{run}")["name"] == "tiny, vocabulary_size 44"
    assert httpx.get(status).json()["flow_run"]["state"] == "Completed"


def test_the_receivers_secret_is_nobody_elses(up: Up):
    assert up.process is not None
    holders = [
        _command(pid)
        for pid in descendants(up.process.pid)
        if SECRET.encode() in Path(f"/proc/{pid}/environ").read_bytes()
    ]
    assert len(holders) == 1
    assert "webhook" in holders[0]


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({}, "choose a file as config, or give a whole run as run"),
        ({"run": {"tokenizer": {"method": "bpe"}}}, "run: model: Field required"),
        ({"config": "tiny.yaml", "vocabulary_size": 8, "tokenizer": "bytes"}, "vocabulary_size"),
    ],
)
def test_what_is_wrong_with_a_run_is_said_before_any_stage(
    up: Up, parameters: dict[str, Any], said: str
):
    run = up.begin("adapt", **parameters)
    state = up.wait_until(run, "COMPLETED", "FAILED")
    assert state["type"] == "FAILED"
    assert said in state["message"]
    assert "\n" not in state["message"]
    assert up.stages(run) == {}


def test_a_file_outside_of_the_folder_is_refused_by_the_server(up: Up):
    deployment = up.ask("GET", "deployments/name/adapt/tokgraft")["id"]
    answer = httpx.post(
        f"http://127.0.0.1:{up.port}/api/deployments/{deployment}/create_flow_run",
        json={"parameters": {"config": "../../etc/passwd"}},
    )
    assert answer.status_code == 409
    assert "is not one of" in answer.text


def test_a_second_one_says_where_the_first_is(up: Up):
    done = subprocess.run(up.command, env=up.environment, **ONE_LINE)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"is running already, on http://127.0.0.1:{up.port}" in done.stderr


def test_another_prefect_server_on_the_port_is_known_as_foreign(up: Up, tmp_path: Path):
    environment = {**up.environment, "TOKGRAFT_DATA_FOLDER": str(tmp_path)}
    done = subprocess.run(up.command, env=environment, **ONE_LINE)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "that this command did not start answers there" in done.stderr


def test_an_address_that_others_reach_needs_a_password(up: Up, tmp_path: Path):
    environment = {**up.environment, "TOKGRAFT_DATA_FOLDER": str(tmp_path)}
    done = subprocess.run([*up.command, "--host", "0.0.0.0"], env=environment, **ONE_LINE)
    assert done.returncode == 2
    assert "PREFECT_SERVER_API_AUTH_STRING" in done.stderr


def test_the_file_of_schedules_schedules_runs(up: Up):
    deployment = up.ask("GET", "deployments/name/adapt/tokgraft")
    (schedule,) = (one for one in deployment["schedules"] if one["slug"] == "file-long")
    assert schedule["schedule"]["timezone"] == "Europe/Berlin"
    assert schedule["parameters"] == {"config": "long.yaml", "refresh": True}

    def scheduled() -> list[dict[str, Any]]:
        return up.ask(
            "POST", "flow_runs/filter",
            deployments={"id": {"any_": [deployment["id"]]}},
            flow_runs={"state": {"type": {"any_": ["SCHEDULED"]}}},
        )  # fmt: skip

    for run in wait_for(scheduled):
        due = datetime.fromisoformat(run["expected_start_time"]).astimezone(
            ZoneInfo("Europe/Berlin")
        )
        assert (due.weekday(), due.hour, due.minute) == (0, 3, 0)


@pytest.mark.long
def test_a_minute_cron_runs_and_sees_new_text(up: Up):
    assert up.tokgraft("schedule", "tiny.yaml", "* * * * *").returncode == 0

    def scheduled_run(seen: set[str]) -> dict[str, Any] | None:
        found = up.ask(
            "POST", "flow_runs/filter",
            flow_runs={"state": {"type": {"any_": ["RUNNING", "COMPLETED"]}}},
        )  # fmt: skip
        return next((r for r in found if r["auto_scheduled"] and r["id"] not in seen), None)

    first = wait_for(lambda: scheduled_run(set()))["id"]
    assert up.wait_until(first, "COMPLETED", "FAILED")["type"] == "COMPLETED"
    assert up.ended_stages(first)["corpus"] == "Cached"  # nothing new
    (up.place / "documents" / "new.txt").write_text("Ein neuer Vertrag liegt vor. " * 9)
    seen = {first}

    def with_new_text() -> bool:
        run = scheduled_run(seen)
        if run is None:
            return False
        up.wait_until(run["id"], "COMPLETED", "FAILED")
        how = up.ended_stages(run["id"])["corpus"]
        seen.add(run["id"])
        return how != "Cached"

    wait_for(with_new_text)
    off = up.tokgraft("schedule", "tiny.yaml", "--off")
    assert "is off" in off.stdout
    wait_for(lambda: not up.runs_due())  # what came due meanwhile


def test_a_schedule_for_a_file_that_is_not_offered(up: Up):
    done = up.tokgraft("schedule", "other.yaml", "* * * * *")
    assert done.returncode == 2
    assert "adapt/tokgraft offers no other.yaml; it offers long.yaml, tiny.yaml" in done.stderr


def test_a_run_is_started_from_the_form_and_seen_to_complete(
    up: Up, browser_page: Any, tmp_path: Path
):
    deployment = up.ask("GET", "deployments/name/adapt/tokgraft")["id"]
    ui = f"http://127.0.0.1:{up.port}/v2"
    browser_page.open(f"{ui}/deployments/deployment/{deployment}/run")
    browser_page.click("document.querySelector('[aria-label=\"Select config\"]')")
    browser_page.click(
        "[...document.querySelectorAll('[role=option]')].find(e => e.innerText == 'tiny.yaml')"
    )
    browser_page.wait_for(
        "document.querySelector('[aria-label=\"Select config\"]').innerText == 'tiny.yaml'"
    )
    before = {run["id"] for run in up.ask("POST", "flow_runs/filter")}
    browser_page.click(
        "[...document.querySelectorAll('button')].find(e => e.innerText == 'Submit')"
    )
    (run,) = wait_for(lambda: {r["id"] for r in up.ask("POST", "flow_runs/filter")} - before)
    assert up.ask("GET", f"flow_runs/{run}")["parameters"]["config"] == "tiny.yaml"
    assert up.wait_until(run, "COMPLETED", "FAILED")["type"] == "COMPLETED"
    up.ended_stages(run)
    browser_page.open(f"{ui}/runs/flow-run/{run}")
    browser_page.wait_for("document.body.innerText.includes('Completed')")
    browser_page.wait_for("document.body.innerText.includes('corpus')")  # its stages' log
    browser_page.wait_for("document.body.innerText.includes('15 Task runs')")
    browser_page.screenshot(tmp_path / "run.png")


@pytest.mark.long
def test_a_cancelled_run_ends_with_its_training(up: Up):
    run = up.begin("adapt", config="long.yaml")
    ours = up.wait_for_training()
    up.set_state(run, type="CANCELLING")
    up.wait_until(run, "CANCELLED")
    wait_for(lambda: len(descendants(ours)) == len(PARTS))


@pytest.mark.long
def test_a_suspended_run_stops_before_its_next_stage_and_goes_on(up: Up):
    run = up.begin("adapt", config="tiny.yaml", vocabulary_size=48)
    wait_for(lambda: up.state(run)["type"] == "RUNNING")
    # What the button of Prefect's UI sends.
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    details = {"pause_timeout": until, "pause_reschedule": True}
    paused = {"type": "PAUSED", "name": "Suspended", "state_details": details}
    up.ask("POST", f"flow_runs/{run}/set_state", state=paused, force=True)
    assert up.process is not None
    ours = up.process.pid
    wait_for(lambda: len(descendants(ours)) == len(PARTS))  # the run's ended
    assert up.state(run)["name"] == "Suspended"
    assert "report" not in up.stages(run)
    up.ask("POST", f"flow_runs/{run}/resume")
    assert up.wait_until(run, "COMPLETED", "FAILED")["type"] == "COMPLETED"


@pytest.mark.long
def test_it_ends_within_ten_seconds_while_a_run_works_and_the_run_goes_on_later(up: Up):
    run = up.begin("adapt", config="tiny.yaml", vocabulary_size=40)
    up.wait_for_training()
    assert up.end(signal.SIGINT) < 10
    up.start()
    assert up.wait_until(run, "COMPLETED", "FAILED")["type"] == "COMPLETED"
    ended = up.ended_stages(run)
    assert (ended["tokenizer"], ended["report"]) == ("Cached", "Completed")
    assert up.end() < 10
