"""Copies of remote artifacts: bounded, checked, never taken from who uses them."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from faulty_proxy import FaultyProxy, faulty_proxy
from s3_server import empty_bucket, lead_to, moto_server

from infra.artifacts import Artifact, open_artifact
from infra.cache import counts, entries_in_use
from infra.settings import get_settings
from infra.stages import StageCall, run_call

FILE_BYTES = 10_000
USE = """
import sys
from infra.artifacts import open_artifact, read_artifact
print(open_artifact(read_artifact(sys.argv[1])), flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture
def proxy(server: str, monkeypatch: pytest.MonkeyPatch, own_place: Path) -> Iterator[FaultyProxy]:
    """A bucket, and room in the cache for three files and a bit."""
    empty_bucket(server)
    with faulty_proxy(server) as proxy:
        lead_to(
            proxy.url, monkeypatch,
            TOKGRAFT_CACHE_BYTES=str(3 * FILE_BYTES + 500),
        )  # fmt: skip
        yield proxy


def made(number: int) -> Artifact:
    def body(attempt):
        (attempt.folder / "data.bin").write_bytes(bytes([number]) * FILE_BYTES)
        return {}

    return run_call(StageCall("numbers", 1, number, ()), 1, body, lambda *_: None)


def used_for_a_moment(artifact: Artifact) -> None:
    with entries_in_use():
        data = (open_artifact(artifact) / "data.bin").read_bytes()
    assert len(data) == FILE_BYTES


def cached() -> set[str]:
    """Names of attempts with copies."""
    return {path.name for path in (get_settings().cache_dir / "artifacts").glob("[!.]*/*")}


def name_of(artifact: Artifact) -> str:
    return artifact.uri.rpartition("/")[2]


@contextmanager
def another_process_that_uses(artifact: Artifact) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen(
        [sys.executable, "-c", USE, artifact.uri],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ),
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        assert process.stdout.readline().strip().endswith(name_of(artifact))
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        with suppress(BrokenPipeError):
            process.stdin.close()


def test_the_longest_unused_copy_goes_first(proxy: FaultyProxy, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "infra.cache")
    artifacts = [made(number) for number in range(4)]
    evicted = counts.evicted
    for artifact in (*artifacts[:3], artifacts[0], artifacts[3]):
        used_for_a_moment(artifact)
    assert cached() == {name_of(artifacts[n]) for n in (0, 2, 3)}
    assert counts.evicted == evicted + 1
    assert f"cache: evicted {get_settings().cache_dir}/artifacts/numbers/" in caplog.text
    assert proxy.count("GET", "data.bin") == 4  # the second look at the first one cost nothing
    used_for_a_moment(artifacts[1])
    assert proxy.count("GET", "data.bin") == 5
    assert cached() == {name_of(artifacts[n]) for n in (0, 1, 3)}


def test_what_is_in_use_stays_and_an_excess_is_told(
    proxy: FaultyProxy, caplog: pytest.LogCaptureFixture
):
    artifacts = [made(number) for number in range(5)]
    with entries_in_use():
        folders = [open_artifact(artifact) for artifact in artifacts]
        assert all((folder / "data.bin").exists() for folder in folders)
        assert "more than TOKGRAFT_CACHE_BYTES=30500" in caplog.text
    used_for_a_moment(made(5))
    assert len(cached()) == 3
    assert name_of(artifacts[0]) not in cached()


def test_another_process_keeps_its_copy_until_it_ends_even_by_kill(proxy: FaultyProxy):
    artifacts = [made(number) for number in range(5)]
    with another_process_that_uses(artifacts[0]) as process:
        for artifact in artifacts[1:]:
            used_for_a_moment(artifact)
        assert cached() == {name_of(artifacts[n]) for n in (0, 3, 4)}
        process.kill()
        process.wait()
        used_for_a_moment(artifacts[1])
        assert cached() == {name_of(artifacts[n]) for n in (1, 3, 4)}


def test_several_processes_fetch_a_file_once(proxy: FaultyProxy):
    artifact = made(1)
    proxy.faults = []
    with (
        another_process_that_uses(artifact),
        another_process_that_uses(artifact),
        another_process_that_uses(artifact),
    ):
        assert proxy.count("GET", "data.bin") == 1


def test_processes_that_evict_what_others_need_read_whole_files(proxy: FaultyProxy):
    """Four processes, each of which needs more than fits, read everything many times."""
    artifacts = [made(number) for number in range(6)]
    script = """
import random, sys
from infra.cache import counts, entries_in_use
from infra.artifacts import open_artifact, read_artifact
draw = random.Random(int(sys.argv[1]))
for _ in range(12):
    number = draw.randrange(6)
    with entries_in_use():
        folder = open_artifact(read_artifact(sys.argv[2 + number]))
        assert (folder / "data.bin").read_bytes() == bytes([number]) * 10000
print(counts.evicted)
"""
    uris = [artifact.uri for artifact in artifacts]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(seed), *uris],
            env=dict(os.environ), stdout=subprocess.PIPE, text=True,
        )
        for seed in range(4)
    ]  # fmt: skip
    evicted = [int(process.communicate(timeout=900)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert sum(evicted) > 4
    used_for_a_moment(artifacts[0])
    assert len(cached()) <= 4  # the last ones of processes that used several at once


def test_a_cache_that_cannot_be_written_is_one_clear_line(
    proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    artifact = made(1)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TOKGRAFT_CACHE_DIR", str(tmp_path / "file"))
    get_settings.cache_clear()
    with pytest.raises(OSError, match="TOKGRAFT_CACHE_DIR") as caught:
        open_artifact(artifact)
    assert "\n" not in str(caught.value)
