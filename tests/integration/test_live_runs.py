"""What a run at work reads and writes stays, whatever ``gc`` thinks of its age."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from s3_server import empty_bucket, lead_to, moto_server

from infra.artifacts import Artifact, open_artifact, read_artifact
from infra.errors import ArtifactNotFoundError
from infra.garbage import find_garbage
from infra.live_runs import STALE_SECONDS, live_run
from infra.settings import get_settings
from infra.stages import StageCall, run_call, settings_store

HERE = Path(__file__).parent
GC = [sys.executable, "-m", "flows.cli", "artifacts", "gc", "--delete"]


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A store, and a ``gc`` that spares nothing for being young."""
    monkeypatch.setenv("TOKGRAFT_GC_GRACE_HOURS", "0")
    if request.param == "folder":
        get_settings.cache_clear()
        yield "folder"
        return
    with moto_server() as url:
        empty_bucket(url)
        lead_to(url, monkeypatch)
        yield "bucket"


def superseded(text: str) -> Artifact:
    """An artifact that no pointer leads to."""

    def body(attempt):
        (attempt.folder / "a.txt").write_text(text)
        return {}

    artifact = run_call(StageCall("input", 1, text, ()), 1, body, lambda *_: None)
    store = settings_store()
    store.delete_file(f"{store.relative(artifact.uri).rpartition('/')[0]}/current-1.json")
    return artifact


@contextmanager
def at_work(source: Artifact) -> Iterator[tuple[subprocess.Popen, str]]:
    """A process whose stage is half done, and where its attempt lies."""
    process = subprocess.Popen(
        [sys.executable, str(HERE / "stage_at_work.py"), source.uri],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ),
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        with suppress(BrokenPipeError):
            process.stdin.close()


def collect() -> str:
    done = subprocess.run(GC, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_gc_leaves_a_run_at_work_what_it_reads_and_writes(place: str):
    source, unread = superseded("read"), superseded("unread")
    store = settings_store()
    with at_work(source) as (process, attempt):
        said = collect()
        assert "superseded" in said
        assert "removed 1" in said  # what nobody reads went, so that this test can fail
        with pytest.raises(ArtifactNotFoundError):
            read_artifact(unread.uri)
        if place == "folder":
            assert (store.local_path(attempt) / "half.txt").exists()
        out, _ = process.communicate(timeout=900)
        assert process.returncode == 0
    made = read_artifact(out.strip())
    assert (open_artifact(made) / "whole.txt").read_text() == "read"
    assert store.children("live") == []
    # Its manifest names the input, which therefore stays; its checkpoints have served.
    assert "removed 1" in collect()
    assert (open_artifact(source) / "a.txt").read_text() == "read"


def test_what_a_killed_run_held_goes(place: str):
    source = superseded("read")
    with at_work(source) as (process, attempt):
        process.send_signal(signal.SIGKILL)
        process.wait()
    store = settings_store()
    assert len(store.children("live")) == 1
    whys = {g.path: g.why for g in find_garbage(store, grace_hours=0)}
    assert whys.pop(store.relative(source.uri)) == "superseded"
    assert "its run is gone" in whys.values()
    if place == "folder":
        assert whys[attempt] == "never finished"
    assert not any("checkpoints" in path for path in whys)  # the next run goes on from them
    assert find_garbage(store, grace_hours=1) == []
    collect()
    assert store.children("live") == []
    assert find_garbage(store, grace_hours=0) == []


@pytest.mark.parametrize(
    ("age", "is_kept"), [(STALE_SECONDS / 2, True), (STALE_SECONDS + 9, False)]
)
def test_a_run_elsewhere_counts_while_its_heartbeat_is_young(
    own_place: Path, age: float, is_kept: bool
):
    source, store = superseded("read"), settings_store()
    record = {"owner": "0" * 16, "host": "elsewhere", "pid": 1, "process_started": "1"}
    holds = {"heartbeat": time.time() - age, "holds": [store.relative(source.uri)]}
    store.write(f"live/{'0' * 16}.json", json.dumps({**record, **holds}).encode())
    found = {g.path for g in find_garbage(store, grace_hours=0)}
    assert found == (set() if is_kept else {store.relative(source.uri), f"live/{'0' * 16}.json"})


def test_a_run_holds_what_its_stages_hold_until_it_ends(own_place: Path):
    def held() -> bool:
        return find_garbage(settings_store(), grace_hours=0) == []

    with live_run():
        source = superseded("read")
        assert held()
        with live_run() as same:
            same.hold(["input/k/a"])
        assert held()
    assert [g.path for g in find_garbage(settings_store(), 0)] == [
        settings_store().relative(source.uri)
    ]
