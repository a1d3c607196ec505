"""Seconds of store commands at 1,000 artifacts, of one stage, and of a run that is all cached."""

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
from infra.stages import StageCall, run_call
from tasks.shared.config import StageConfig
from tasks.shared.task import stage

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

N_ARTIFACTS = 1000
N_CALLS = 20


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


def test_store_commands(place: str):
    def body(attempt: Attempt) -> Summary:
        for number in range(3):
            (attempt.folder / f"part-{number}.txt").write_text("text")
        return {}

    before: tuple[Artifact, ...] = ()
    for number in range(N_ARTIFACTS):
        call = StageCall(f"stage{number % 10}", 1, number, before)
        before = (run_call(call, 1, body, lambda *_: None),)
    for arguments in (("ls",), ("verify", "--fast"), ("gc",), ("verify",)):
        seconds = seconds_of(command(*arguments))
        print(f"{place}: artifacts {' '.join(arguments)} at {N_ARTIFACTS:,}: {seconds:.2f} s")  # noqa: T201


def test_overhead_of_one_stage(place: str):
    with live_run():
        nothing(Nothing(number=-1))  # the first one connects
        for outcome in ("run", "cached"):
            seconds = seconds_of(lambda: [nothing(Nothing(number=n)) for n in range(N_CALLS)])
            print(f"{place}: a stage of nothing, {outcome}: {1000 * seconds / N_CALLS:.1f} ms")  # noqa: T201


def test_a_run_all_cached(place: str, tmp_path: Path, tiny_run: dict):
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(tiny_run))
    tokgraft = str(Path(sys.executable).with_name("tokgraft"))
    environment = {**os.environ, "TOKGRAFT_METRICS_FOLDER": str(tmp_path)}
    for outcome in ("run", "cached"):
        seconds = seconds_of(
            lambda: subprocess.run([tokgraft, "run", str(file)], env=environment, check=True)
        )
        of_stages = sum(
            sample.value
            for family in text_string_to_metric_families(
                (tmp_path / "tokgraft_adapt.prom").read_text()
            )
            for sample in family.samples
            if sample.name == "tokgraft_stage_seconds"
        )
        print(f"{place}: tiny run, {outcome}: {of_stages:.1f} s of stages, {seconds:.1f} s in all")  # noqa: T201
