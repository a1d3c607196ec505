"""Training on Ray as a user meets it: killed and resumed, on two workers, with a failing worker."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pretraining_run import CONFIG
from s3_server import BUCKET

from infra.artifacts import open_artifact, read_artifact
from infra.object_store import ObjectStore
from infra.parquet import read_table

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SCRIPT = Path(__file__).with_name("pretraining_run.py")


def start(model: Path, store: Path | str, config: dict, **settings: str) -> subprocess.Popen[str]:
    environment = {f"TOKGRAFT_{name}": value for name, value in settings.items()}
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(model), json.dumps(config)],
        env=os.environ | environment | {"TOKGRAFT_STORE": str(store)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> dict[str, str]:
    out, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    assert err == ""  # Ray's own noise would stand here
    return dict(line.split(" ", 1) for line in out.splitlines())


def checkpoints_of(store: Path) -> list[Path]:
    return sorted(store.glob("pretraining/*/checkpoints/*/step-*/manifest.json"))


def wait_for_step(store: Path, step: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 900
    while not any(f"step-{step:08d}" in str(path) for path in checkpoints_of(store)):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def metrics_of(store: Path | str, uri: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, list]:
    from infra.settings import get_settings

    monkeypatch.setenv("TOKGRAFT_STORE", str(store))
    get_settings.cache_clear()
    return read_table(open_artifact(read_artifact(uri)) / "metrics.parquet").to_pydict()


@pytest.fixture(scope="module")
def whole_run(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory):
    """An uninterrupted run on one worker: its store and what it printed."""
    store = tmp_path_factory.mktemp("whole") / "store"
    return store, finish(start(tiny_model_folder, store, CONFIG, N_THREADS="1", N_PROCESSES="1"))


def test_kill_9_and_again_gives_the_same_bits(tiny_model_folder, tmp_path, whole_run):
    store = tmp_path / "store"
    first = start(tiny_model_folder, store, CONFIG)
    wait_for_step(store, 10, first)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    assert not list(store.glob("pretraining/*/current-*.json")), "it was done before the kill"
    again = finish(start(tiny_model_folder, store, CONFIG))
    assert again["digest"] == whole_run[1]["digest"]


@pytest.mark.long
def test_killed_on_s3_another_machine_goes_on_from_its_checkpoint(
    tiny_model_folder, tmp_path, whole_run, s3, monkeypatch
):
    s3.create_bucket(Bucket=BUCKET)
    uri = f"s3://{BUCKET}/run"
    store = ObjectStore(uri)

    def checkpoints() -> set[str]:
        paths = {found.path for found in store.files("pretraining")}
        return {path for path in paths if "/step-" in path and path.endswith("manifest.json")}

    first = start(tiny_model_folder, uri, CONFIG, CACHE_DIR=str(tmp_path / "first"))
    deadline = time.monotonic() + 900
    while not checkpoints():
        assert first.poll() is None, first.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    before = checkpoints()
    assert not [f for f in store.files("pretraining") if "/current-" in f.path], "done too soon"
    again = finish(start(tiny_model_folder, uri, CONFIG, CACHE_DIR=str(tmp_path / "second")))
    assert again["digest"] == whole_run[1]["digest"]
    assert before
    steps = metrics_of(uri, again["uri"], monkeypatch)["step"]
    assert steps == sorted(set(steps))


def test_a_trainer_whose_lease_another_took_stops(tiny_model_folder, tmp_path):
    store = tmp_path / "store"
    budget = {"unit": "bytes", "amount": 50_000_000}  # an hour
    phases = [{"trainable": "all", "budget": budget}]
    process = start(tiny_model_folder, store, {**CONFIG, "phases": phases, "max_epochs": 2000})
    wait_for_step(store, 10, process)
    (lease,) = store.glob("pretraining/*/checkpoints/1/lease.json")
    taken = {**json.loads(lease.read_text()), "owner": "o", "pid": 7, "host": "elsewhere"}
    lease.write_text(json.dumps({**taken, "heartbeat": time.time()}))
    _, err = process.communicate(timeout=900)
    assert process.returncode != 0
    assert "LeaseLostError: " in err
    assert "lease.json was taken by process 7 on elsewhere while this one gave no sign" in err
    assert json.loads(lease.read_text())["owner"] == "o"
    assert not list(store.glob("pretraining/*/current-*.json"))


@pytest.mark.long
def test_two_workers_read_the_same_samples(tiny_model_folder, tmp_path, whole_run, monkeypatch):
    store = tmp_path / "store"
    two = finish(start(tiny_model_folder, store, CONFIG, WORLD_SIZE="2"))
    metrics = metrics_of(store, two["uri"], monkeypatch)
    expected = metrics_of(whole_run[0], whole_run[1]["uri"], monkeypatch)
    assert metrics["bytes"] == expected["bytes"]
    assert metrics["bits_per_byte"] == pytest.approx(expected["bits_per_byte"], abs=5e-3)


@pytest.mark.long
def test_sharded_parameters_train_the_same(tiny_model_folder, tmp_path, whole_run, monkeypatch):
    store = tmp_path / "store"
    sharded = finish(start(tiny_model_folder, store, CONFIG, WORLD_SIZE="2", SHARDING="fsdp"))
    metrics = metrics_of(store, sharded["uri"], monkeypatch)
    expected = metrics_of(whole_run[0], whole_run[1]["uri"], monkeypatch)
    assert metrics["bits_per_byte"] == pytest.approx(expected["bits_per_byte"], abs=5e-3)


@pytest.mark.long
def test_a_killed_worker_is_replaced(tiny_model_folder, tmp_path, whole_run):
    store = tmp_path / "store"
    process = start(tiny_model_folder, store, CONFIG)
    wait_for_step(store, 10, process)
    os.kill(_worker_of(process.pid), signal.SIGKILL)
    assert finish(process)["digest"] == whole_run[1]["digest"]


def test_divergence_is_one_clear_error_and_not_tried_again(tiny_model_folder, tmp_path):
    rates = {"lr_input_rows": 1e30, "lr_head": 1e30, "lr_body": 1e30, "warmup": 0}
    budget = {"unit": "bytes", "amount": 20_000}
    phases = [{"trainable": "all", "budget": budget, **rates}]
    process = start(tiny_model_folder, tmp_path / "store", {**CONFIG, "phases": phases})
    _, err = process.communicate(timeout=900)
    assert process.returncode != 0
    assert "DivergedError: Step 2 gave a loss of " in err
    assert "RayTaskError" not in err
    assert ObjectStore(str(tmp_path / "store")).children("pretraining") != []


def _worker_of(driver: int) -> int:
    """Process id of the Ray worker that trains for a driver: the busiest of its descendants."""
    children: dict[int, list[int]] = {}
    ticks: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            command = stat.with_name("cmdline").read_text()
        except OSError:
            continue
        pid = int(stat.parent.name)
        children.setdefault(int(fields[1]), []).append(pid)
        if command.startswith("ray::") and "RayTrainWorker" in command:
            ticks[pid] = int(fields[11]) + int(fields[12])
    below, todo = set[int](), [driver]
    while todo:
        todo += children.get(pid := todo.pop(), [])
        below.add(pid)
    return max((pid for pid in ticks if pid in below), key=lambda pid: ticks[pid])
