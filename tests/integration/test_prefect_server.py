"""A real Prefect server: it schedules cron runs, and a run reports its stages there."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import yaml

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path_factory.mktemp("prefect")
    environment = {
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
        "DO_NOT_TRACK": "1",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--no-ui"]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}/api"
    try:
        wait_for(lambda: _answers(url), 300)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def wait_for(condition: Callable[[], object], seconds: float) -> object:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.5)
    return found


def ask(url: str, path: str, **body: object) -> list[dict]:
    answer = httpx.post(f"{url}/{path}", json=body, timeout=30)
    answer.raise_for_status()
    return answer.json()


def create(url: str, path: str, **body: object) -> dict:
    """Create a thing; a server that has just started may still answer that it is busy."""

    def created() -> dict | None:
        answer = httpx.post(f"{url}/{path}", json=body, timeout=30)
        return answer.json() if answer.status_code in (200, 201) else None

    thing = wait_for(created, 300)
    assert isinstance(thing, dict)
    return thing


@pytest.mark.long
def test_a_cron_schedule_makes_runs(server):
    flow = create(server, "flows/", name="nightly")
    every_minute = {"schedule": {"cron": "* * * * *", "timezone": "UTC"}, "active": True}
    deployment = create(
        server, "deployments/", name="nightly", flow_id=flow["id"], schedules=[every_minute]
    )
    scheduled = wait_for(
        lambda: ask(
            server,
            "flow_runs/filter",
            deployments={"id": {"any_": [deployment["id"]]}},
            flow_runs={"state": {"type": {"any_": ["SCHEDULED"]}}},
        ),
        60,
    )
    assert isinstance(scheduled, list)
    assert len(scheduled) >= 1


def test_a_run_reports_its_stages_and_shows_cached_ones(server, tmp_path: Path, tiny_run: dict):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tiny_run))
    for _ in range(2):
        done = subprocess.run(
            [str(Path(sys.executable).with_name("tokgraft")), "run", str(tmp_path / "run.yaml")],
            env={**os.environ, "PREFECT_API_URL": server},
            capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
    flow_runs = ask(
        server, "flow_runs/filter", sort="START_TIME_ASC", flows={"name": {"any_": ["adapt"]}}
    )
    assert [r["state"]["name"] for r in flow_runs] == ["Completed", "Completed"]
    assert [r["name"] for r in flow_runs] == ["run", "run"]  # the file's
    task_runs = [
        ask(server, "task_runs/filter", flow_runs={"id": {"any_": [run["id"]]}})
        for run in flow_runs
    ]
    assert [len(runs) for runs in task_runs] == [15, 15]
    cached = [run["name"].split()[0] for run in task_runs[1] if run["state_name"] == "Cached"]
    assert len(cached) == 13  # all but the two locks, which look at their files again
    assert {"corpus", "tokenizer", "pretraining", "report"} <= set(cached)
    artifacts = ask(server, "artifacts/filter")
    assert {"report", "corpus-summary", "pretraining-summary"} <= {a["key"] for a in artifacts}
    [linked, *_] = [a for a in artifacts if a["key"] == "tokenizer-artifact"]
    assert "/tokenizer/" in linked["data"]
    [progress, *_] = [a for a in artifacts if a["key"] == "pretraining-progress"]
    assert (progress["type"], float(progress["data"])) == ("progress", 100.0)
    [trained] = [run for run in task_runs[0] if run["name"].startswith("pretraining")]
    logs = ask(server, "logs/filter", logs={"task_run_id": {"any_": [trained["id"]]}})
    assert logs, "a stage has a log of its own"


@pytest.mark.long
def test_prefect_yaml_deploys_every_flow_to_a_work_pool(server, tmp_path: Path):
    create(server, "work_pools/", name="tokgraft", type="process")
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        env={**os.environ, "PREFECT_API_URL": server, "PREFECT_HOME": str(tmp_path)},
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = ask(server, "deployments/filter", work_pools={"name": {"any_": ["tokgraft"]}})
    assert {one["entrypoint"] for one in found} == {
        f"flows.deployed.{flow}" for flow in ("adapt", "compare", "evaluate")
    }
    for one in found:
        assert one["name"] == "tokgraft"
        assert one["pull_steps"][0]["prefect.deployments.steps.set_working_directory"] == {
            "directory": "."
        }
        assert one["concurrency_options"]["collision_strategy"] == "ENQUEUE"
        assert one["global_concurrency_limit"]["limit"] == 1
        offered = one["parameter_openapi_schema"]["properties"]["config"]["enum"]
        assert "german.yaml" in offered or "compare_tokenizers.yaml" in offered
