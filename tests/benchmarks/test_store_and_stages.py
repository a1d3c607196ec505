"""Seconds of store commands at 1,000 artifacts, of one stage, and of a run that is all cached."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from s3_server import empty_bucket, lead_to, moto_server
from typer.testing import CliRunner

from flows.cli import app
from infra.artifacts import Artifact, Attempt, Summary
from infra.live_runs import live_run
from infra.stages import StageCall, run_call, settings_store
from tasks.shared.config import StageConfig
from tasks.shared.task import stage

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

N_ARTIFACTS = 1000
N_CALLS = 20
MOST_TIMES_BARE = 4.0
"""Of a bare reading of all manifests."""


class Nothing(StageConfig):
    """No choice but a number."""

    number: int


@stage(name="nothing", version=1)
def nothing(attempt: Attempt, config: Nothing) -> Summary:
    (attempt.folder / "a.txt").write_text(str(config.number))
    return {}


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A store on disk, then one on moto's server."""
    if request.param == "local":
        yield "local"
        return
    with moto_server() as url:
        empty_bucket(url)
        lead_to(url, monkeypatch)
        yield "s3"


def seconds_of(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def command(*arguments: str) -> Callable[[], object]:
    def call() -> None:
        done = CliRunner().invoke(app, ["artifacts", *arguments])
        assert done.exit_code == 0, done.output

    return call


def read_every_manifest() -> None:
    """What no command can do without, asked for in the plainest way."""
    store = settings_store()
    manifests = [f.path for f in store.files() if f.path.endswith("/manifest.json")]
    assert len([json.loads(store.read(path)) for path in manifests]) == N_ARTIFACTS


def test_store_commands(place: str):
    def body(attempt: Attempt) -> Summary:
        for number in range(3):
            (attempt.folder / f"part-{number}.txt").write_text("text")
        return {}

    before: tuple[Artifact, ...] = ()
    for number in range(N_ARTIFACTS):
        call = StageCall(f"stage{number % 10}", 1, number, before)
        before = (run_call(call, 1, body, lambda *_: None),)
    bare = min(seconds_of(read_every_manifest) for _ in range(2))
    print(f"{place}: {N_ARTIFACTS:,} manifests listed and read one by one: {bare:.2f} s")  # noqa: T201
    for arguments in (("ls",), ("verify", "--fast"), ("gc", "--dry-run"), ("verify",)):
        seconds = min(seconds_of(command(*arguments)) for _ in range(2))
        print(f"{place}: artifacts {' '.join(arguments)} at {N_ARTIFACTS:,}: {seconds:.2f} s")  # noqa: T201
        assert seconds < MOST_TIMES_BARE * bare or arguments == ("verify",)


def test_overhead_of_one_stage(place: str):
    with live_run():
        nothing(Nothing(number=-1))  # the first one connects
        seconds = dict[str, float]()
        for outcome in ("run", "cached"):
            seconds[outcome] = seconds_of(
                lambda: [nothing(Nothing(number=n)) for n in range(N_CALLS)]
            )
            ms = 1000 * seconds[outcome] / N_CALLS
            print(f"{place}: a stage of nothing, {outcome}: {ms:.1f} ms")  # noqa: T201
        assert seconds["cached"] < 0.9 * seconds["run"]


def test_a_run_all_cached(place: str, tmp_path: Path, tiny_run: dict):
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(tiny_run))
    tokgraft = str(Path(sys.executable).with_name("tokgraft"))
    environment = {**os.environ, "TOKGRAFT_METRICS_FOLDER": str(tmp_path)}
    stages, whole = dict[str, float](), dict[str, float]()
    for outcome in ("run", "cached"):
        whole[outcome] = seconds_of(
            lambda: subprocess.run([tokgraft, "run", str(file)], env=environment, check=True)
        )
        stages[outcome] = sum(
            sample.value
            for family in text_string_to_metric_families(
                (tmp_path / "tokgraft_adapt.prom").read_text()
            )
            for sample in family.samples
            if sample.name == "tokgraft_stage_seconds"
        )
        print(  # noqa: T201
            f"{place}: tiny run, {outcome}: {stages[outcome]:.1f} s of stages, "
            f"{whole[outcome]:.1f} s in all"
        )
    assert stages["cached"] < 0.3 * stages["run"]
    assert whole["cached"] < whole["run"] - 0.5 * stages["run"]  # most of what stages took
