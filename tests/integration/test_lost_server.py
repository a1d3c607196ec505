"""The Prefect server is killed while a stage works: one line, and the next run goes on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml
from webhook_service import Prefect

from infra.settings import get_settings
from infra.stages import settings_store
from infra.verification import verify_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Prefect]:
    home = tmp_path / "prefect"
    home.mkdir()
    server = Prefect(home)
    server.start()
    yield server
    server.stop()


@contextmanager
def at_work(server: Prefect, *arguments: str, retries: int) -> Iterator[subprocess.Popen[str]]:
    """`tokgraft` with this server, ended with the block."""
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("tokgraft")), *arguments],
        env={
            **os.environ,
            "PREFECT_API_URL": server.url,
            "PREFECT_CLIENT_MAX_RETRIES": str(retries),
        },
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def kill_while_at_work(server: Prefect, process: subprocess.Popen[str], stage: str) -> None:
    """SIGKILL for the server, at a moment when an attempt of the stage has no manifest."""
    deadline = time.monotonic() + 900
    while True:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"{stage} has not begun"
        os.kill(process.pid, signal.SIGSTOP)  # the stage cannot end between a look and the kill
        try:
            if unfinished(stage):
                server.kill()
                return
        finally:
            os.kill(process.pid, signal.SIGCONT)
        time.sleep(0.02)


def unfinished(stage: str) -> list[Path]:
    attempts = Path(get_settings().store_root).glob(f"{stage}/*/2*")
    return [path for path in attempts if not (path / "manifest.json").exists()]


def lines(text: str) -> dict[str, bool]:
    """Stages that ended, and whether they were cached; locks look in every run."""
    ended = [line.split() for line in text.splitlines() if line.startswith("  ")]
    return {
        words[0]: words[1] == "Cached"
        for words in ended
        if words[2:3] != ["of"] and not words[0].endswith("_lock")
    }


def said_in_one_line(process: subprocess.Popen[str], server: Prefect) -> str:
    """Standard output of a run that lost its server."""
    out, err = process.communicate(timeout=900)
    assert process.returncode == 2, err
    assert err.count("\n") == 1, err
    assert f"tokgraft: the Prefect server at {server.url} went away while the run was" in err
    assert "start it again and run the same command: finished stages are cached." in err
    return out


def test_a_run_that_lost_its_server_is_gone_on_with(
    server: Prefect, tmp_path: Path, tiny_run: dict
):
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(tiny_run))
    with at_work(server, "run", str(file), retries=1) as process:
        kill_while_at_work(server, process, "tokenizer")
        ended = lines(said_in_one_line(process, server))
    # The stage at work came to its end, and stands; nobody was left to be told of it.
    assert set(ended) == {"model", "corpus", "pretokens"}
    assert {path.name for path in Path(get_settings().store_root).iterdir()} == {
        *ended, "tokenizer", "model_lock", "corpus_lock", "live",
    }  # fmt: skip
    assert unfinished("*") == []
    assert verify_store(settings_store(), fast=False).problems == ()

    server.start()
    with at_work(server, "run", str(file), retries=5) as process:
        out, err = process.communicate(timeout=900)
        assert (process.returncode, err) == (0, "")
    found = lines(out)
    cached = {stage for stage, is_cached in found.items() if is_cached}
    assert cached == {"model", "corpus", "pretokens", "tokenizer"}
    assert {"tokens", "embedding", "pretraining", "report"} <= set(found) - cached


@pytest.mark.long
def test_a_comparison_outlives_a_server_that_comes_back_and_not_one_that_does_not(
    server: Prefect, tmp_path: Path, tiny_run: dict
):
    rows = {**tiny_run["embedding"], "initialiser": {"method": "mean_of_pieces"}}
    grid = {name: tiny_run[name] for name in ("model", "corpus", "evaluation")} | {
        "pretraining": None,
        "tokenizers": {"extended": {"tokenizer": tiny_run["tokenizer"]}},
        "initialisers": {"mean": rows},
    }
    file = tmp_path / "grid.yaml"
    file.write_text(yaml.safe_dump(grid))
    with at_work(server, "compare", str(file), retries=1) as process:
        kill_while_at_work(server, process, "corpus")
        assert set(lines(said_in_one_line(process, server))) == {"model"}

    server.start()
    with at_work(server, "compare", str(file), retries=6) as process:
        kill_while_at_work(server, process, "tokenizer")
        server.start()
        out, err = process.communicate(timeout=900)
        assert (process.returncode, err) == (0, "")
    assert [stage for stage, is_cached in lines(out).items() if is_cached] == ["model", "corpus"]
    runs = {run["state_name"]: run["id"] for run in server.runs()}
    assert set(runs) == {"Running", "Completed"}  # nobody told the server of the first one's end
    stages = httpx.post(
        f"{server.url}/task_runs/filter",
        json={"flow_runs": {"id": {"any_": [runs["Completed"]]}}}, timeout=60,
    ).json()  # fmt: skip
    assert {stage["state_type"] for stage in stages} == {"COMPLETED"}
    assert len(stages) == 12
