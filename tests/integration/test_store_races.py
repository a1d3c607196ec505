"""Several processes run one key at once, on servers that honour, ignore or refuse conditions."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_proxy import Fault, FaultyProxy, faulty_proxy
from s3_server import BUCKET, CREDENTIALS, empty_bucket, moto_server

from infra.artifacts import all_attempts, find_current, open_artifact, read_artifact
from infra.doctor.storage import check_storage
from infra.garbage import find_garbage, remove_garbage
from infra.object_store import store_at
from infra.settings import get_settings
from infra.stages import StageCall, settings_store
from infra.verification import verify_store

HERE = Path(__file__).parent
N_PROCESSES = 4
SERVERS = {
    "honoured": [],
    "ignored": [Fault("PUT", header="If-None-Match", times=999, without_header="If-None-Match")],
    "refused": [Fault("PUT", header="If-None-Match", times=999, status=501, code="NotImplemented")],
    "conflicts": [
        Fault("PUT", header="If-None-Match", times=2, status=409, code="ConditionalRequestConflict")
    ],
}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture(params=SERVERS)
def proxy(
    request: pytest.FixtureRequest, server: str, monkeypatch: pytest.MonkeyPatch, own_place: Path
) -> Iterator[FaultyProxy]:
    empty_bucket(server)
    with faulty_proxy(server) as proxy:
        proxy.faults = [Fault(**vars(fault)) for fault in SERVERS[request.param]]
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        monkeypatch.setenv("TOKGRAFT_STORE", f"s3://{BUCKET}/run")
        for name, value in CREDENTIALS.items():
            monkeypatch.setenv(name, value)
        get_settings.cache_clear()
        store_at.cache_clear()  # it remembers what the server before this one refused
        yield proxy


def test_every_racer_holds_a_readable_artifact_and_later_runs_agree(
    proxy: FaultyProxy, own_place: Path
):
    racers = [
        subprocess.Popen(
            [sys.executable, str(HERE / "racing_stage.py"), str(number), str(time.time() + 6)],
            env={**os.environ, "TOKGRAFT_CACHE_DIR": str(own_place / f"cache{number}")},
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(N_PROCESSES)
    ]
    said = [racer.communicate(timeout=900)[0].split(" ", 1) for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * N_PROCESSES
    store, key = settings_store(), StageCall("raced", 1, {}, ()).key
    assert len(list(all_attempts(store))) == N_PROCESSES
    for uri, text in said:
        assert text == "the same\n"
        assert read_artifact(uri).uri == uri
    assert len({read_artifact(uri).digest for uri, _ in said}) == 1
    current, generation = find_current(store, "raced", key)
    assert current is not None
    assert generation == 1
    assert verify_store(store, fast=False).problems == ()
    remove_garbage(store, find_garbage(store, grace_hours=0))
    assert find_current(store, "raced", key) == (current, 1)
    assert (open_artifact(current) / "text.txt").read_text() == "the same"
    assert list(all_attempts(store)) == [store.relative(current.uri)]


def test_what_the_doctor_says_of_such_a_server(proxy: FaultyProxy, request: pytest.FixtureRequest):
    name = request.node.callspec.params["proxy"]
    said = next(finding for finding in check_storage(get_settings()) if finding.about == "store")
    assert said.level == ("warn" if name in ("ignored", "refused") else "ok")
