"""Killed at any write and between any two stages, a run goes on and ends the same."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from s3_server import BUCKET, CREDENTIALS, empty_bucket, moto_server

from infra.artifacts import all_attempts, read_artifact
from infra.settings import get_settings
from infra.stages import settings_store
from infra.verification import verify_store

HERE = Path(__file__).parent
QUIET = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def sweep(folder: Path, run: dict, n_tries: int, stores: str = "") -> list[dict]:
    """Kill the small pipeline at many chances; what came of each.

    Its stores lie in the folder, or below ``stores``.
    """
    documents = run["corpus"]["sources"][0]
    documents["paths"] = [path.replace("*", "0[0-3]*") for path in documents["paths"]]
    (folder / "run.yaml").write_text(yaml.safe_dump(run))
    command = [sys.executable, str(HERE / "kill_sweep.py"), str(folder / "run.yaml"), str(folder)]
    done = subprocess.run(
        [*command, str(n_tries), stores or str(folder)],
        env={**os.environ, **QUIET}, capture_output=True, text=True, timeout=1500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.timeout(1800)
def test_killed_at_a_few_chances_a_pipeline_goes_on(tmp_path: Path, tiny_run: dict):
    tried = sweep(tmp_path, tiny_run, n_tries=6)
    assert len(tried) >= 6
    assert [line for line in tried if line["wrong"]] == []


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(1600)
def test_killed_at_every_chance_a_pipeline_goes_on(tmp_path: Path, tiny_run: dict):
    tried = sweep(tmp_path, tiny_run, n_tries=0)
    assert len(tried) == tried[0]["of"]
    assert [line for line in tried if line["wrong"]] == []
    # What the chances are, so that the sweep cannot come to miss a kind of them unseen.
    kinds = {" ".join(line["name"].split()[:2]).split("/")[0] for line in tried}
    for kind in ("before write", "after create", "before run_call", "after __call__",
                 "before write_table", "after close", "os.link corpus", "os.rename tokens",
                 "open corpus", "os.mkdir tokens"):  # fmt: skip
        assert kind in kinds, sorted(kinds)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(1600)
def test_killed_at_some_chances_a_pipeline_on_s3_goes_on(
    tmp_path: Path, tiny_run: dict, monkeypatch: pytest.MonkeyPatch
):
    with moto_server() as url:
        empty_bucket(url)
        for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": url}.items():
            monkeypatch.setenv(name, value)
        tried = sweep(tmp_path, tiny_run, n_tries=8, stores=f"s3://{BUCKET}")
    assert len(tried) >= 8
    assert [line for line in tried if line["wrong"]] == []
    kinds = {line["name"] for line in tried}
    writes = {f"{when} {what}" for when in ("before", "after") for what in ("upload", "write")}
    assert writes & kinds


ELSEWHERE = """
import json, sys
import yaml
from kill_sweep import go_on, pipeline
from flows.run_config import RunConfig
run = RunConfig.model_validate(yaml.safe_load(open(sys.argv[1]).read()))
print(json.dumps(go_on(run)))
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.long
def test_another_machine_goes_on_from_the_bucket_alone(
    tmp_path: Path, tiny_run: dict, monkeypatch: pytest.MonkeyPatch
):
    """Another cache, data folder and working directory; the first machine was killed half way."""
    documents = tiny_run["corpus"]["sources"][0]
    documents["paths"] = [path.replace("*", "0[0-3]*") for path in documents["paths"]]
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(tiny_run))

    def machine(number: int, fatal_stage: str) -> subprocess.CompletedProcess:
        place = tmp_path / f"machine{number}"
        place.mkdir()
        environment = {
            "TOKGRAFT_CACHE_DIR": str(place / "cache"), "TOKGRAFT_DATA_FOLDER": str(place / "data"),
            "TMPDIR": str(place), "PYTHONPATH": f"{HERE}:{HERE.parents[1]}",
        }  # fmt: skip
        die = DIE_IN.format(stage=fatal_stage) if fatal_stage else ""
        return subprocess.run(
            [sys.executable, "-c", die + ELSEWHERE, str(file)],
            cwd=place, env={**os.environ, **QUIET, **environment},
            capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip

    with moto_server() as url:
        empty_bucket(url)
        for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": url}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("TOKGRAFT_STORE", f"s3://{BUCKET}/one")
        whole = machine(1, "")
        assert whole.returncode == 0, whole.stderr[-3000:]
        monkeypatch.setenv("TOKGRAFT_STORE", f"s3://{BUCKET}/two")
        get_settings.cache_clear()
        assert machine(2, "tokens").returncode == -signal.SIGKILL
        before = standing()
        assert {stage for stage, _ in before} == {"model", "corpus"}
        resumed = machine(3, "")
        assert resumed.returncode == 0, resumed.stderr[-3000:]
        assert json.loads(resumed.stdout) == json.loads(whole.stdout)
        assert json.loads(resumed.stdout)["wrong"] == []
        assert set(before) < set(standing())


DIE_IN = """
import os, signal
import infra.stages
import tasks.shared.task
plain = infra.stages.run_call
def run_call(call, generation, body, *args, **kwargs):
    def dying(attempt):
        summary = body(attempt)
        if call.stage == "{stage}":
            os.kill(os.getpid(), signal.SIGKILL)
        return summary
    return plain(call, generation, dying, *args, **kwargs)
tasks.shared.task.run_call = run_call
"""


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_whole_run_killed_at_drawn_chances_ends_as_one_that_nobody_killed(
    tmp_path: Path, tiny_run: dict, own_place: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(tiny_run))
    report = tmp_path / "chances"
    n_chances = len(run_with_chances(file, 0, report).read_text().splitlines())
    expected = standing()
    assert n_chances > 300

    monkeypatch.setenv("TOKGRAFT_STORE", str(own_place / "killed"))
    get_settings.cache_clear()
    draw, n_kills = random.Random(0), 0
    while n_kills < 3:
        report.unlink(missing_ok=True)
        if run_with_chances(file, draw.randrange(1, n_chances // 2), report).exists():
            break
        n_kills += 1
    assert n_kills >= 2
    run_with_chances(file, 0, report)
    assert standing() == expected
    assert verify_store(settings_store(), fast=False).problems == ()


def run_with_chances(file: Path, fatal: int, report: Path) -> Path:
    """`tokgraft run` with chances to be killed; its report exists when it came to its end."""
    command = [sys.executable, str(HERE / "kill_points.py"), str(fatal), str(report)]
    done = subprocess.run(
        [*command, "run", str(file)],
        env={**os.environ, **QUIET}, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode in (0, -signal.SIGKILL), done.stderr[-3000:]
    return report


def standing() -> list[tuple[str, str]]:
    """Stage and digest of every whole attempt: a stage that finished twice stands here twice.

    Locks look at their files in every run, and are left out.
    """
    store = settings_store()
    found = [read_artifact(store.uri(path)) for path in all_attempts(store)]
    looks = {artifact.stage for artifact in found if artifact.stage.endswith("_lock")}
    return sorted((a.stage, a.digest) for a in found if a.stage not in looks)
