"""The same store on an S3 API (moto's server, started here)."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pyarrow as pa
import pytest
import requests
from moto.server import ThreadedMotoServer

from infra.artifacts import find_current, open_artifact, verify_artifact
from infra.errors import CorruptFileError, LeaseHeldError, StoreError
from infra.fetching import fetch, sha256_of
from infra.garbage import find_garbage, remove_garbage
from infra.lease import lease
from infra.object_store import ObjectStore
from infra.parquet import read_table, write_table
from infra.settings import get_settings
from infra.stages import StageCall, run_call, settings_store
from infra.verification import verify_store


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    yield f"http://{host}:{port}"
    moto.stop()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch, own_place: Path) -> str:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    requests.post(f"{server}/moto-api/reset", timeout=10)
    boto3.client("s3", endpoint_url=server).create_bucket(Bucket="grafts")
    monkeypatch.setenv("TOKGRAFT_STORE", "s3://grafts/run")
    get_settings.cache_clear()
    return "grafts"


def silent(done: float, total: float, text: str) -> None:
    """Hear progress and say nothing."""


def body(attempt):
    write_table(attempt.folder / "rows-00000.parquet", pa.table({"id": [1, 2, 3]}))
    return {"n_rows": 3}


def test_publish_find_open_and_collect(bucket):
    call = StageCall("numbers", 1, {"a": 1}, ())
    artifact = run_call(call, 1, body, silent)
    assert artifact.uri.startswith("s3://grafts/run/numbers/")
    found, generation = find_current(settings_store(), "numbers", call.key)
    assert (found, generation) == (artifact, 1)
    folder = open_artifact(artifact, "rows-*.parquet")
    assert read_table(folder / "rows-00000.parquet").num_rows == 3
    assert run_call(call, 1, body, silent) == artifact  # the second writer gets the first's

    garbage = find_garbage(settings_store(), grace_hours=0)
    assert [g.why for g in garbage] == ["superseded"]
    remove_garbage(settings_store(), garbage)
    assert find_garbage(settings_store(), grace_hours=0) == []


def test_local_and_s3_have_the_same_digest(bucket, tmp_path, monkeypatch):
    remote = run_call(StageCall("numbers", 1, 0, ()), 1, body, silent)
    monkeypatch.setenv("TOKGRAFT_STORE", str(tmp_path))
    get_settings.cache_clear()
    local = run_call(StageCall("numbers", 1, 0, ()), 1, body, silent)
    assert remote.digest == local.digest


def test_a_damaged_cached_copy_is_fetched_again_and_a_damaged_object_refused(bucket):
    artifact = run_call(StageCall("numbers", 1, 0, ()), 1, body, silent)
    folder = open_artifact(artifact)
    (folder / "rows-00000.parquet").write_bytes(b"x")
    assert read_table(open_artifact(artifact) / "rows-00000.parquet").num_rows == 3
    (folder / "rows-00000.parquet").unlink()
    store = settings_store()
    store.write(f"{store.relative(artifact.uri)}/rows-00000.parquet", b"damaged")
    with pytest.raises(CorruptFileError, match=r"rows-00000\.parquet is not what was written"):
        open_artifact(artifact)


def test_verify_looks_into_the_bucket_and_not_at_a_cached_copy(bucket):
    artifact = run_call(StageCall("numbers", 1, 0, ()), 1, body, silent)
    open_artifact(artifact)
    assert verify_artifact(artifact) == 1
    store = settings_store()
    store.write(f"{store.relative(artifact.uri)}/rows-00000.parquet", b"damaged")
    with pytest.raises(CorruptFileError, match=r"rows-00000\.parquet is not what was written"):
        verify_artifact(artifact)


def test_a_whole_bucket_is_checked(bucket):
    first = run_call(StageCall("numbers", 1, 0, ()), 1, body, silent)
    artifact = run_call(StageCall("numbers", 1, 1, (first,)), 1, body, silent)
    store = settings_store()
    for fast in (True, False):
        found = verify_store(store, fast=fast)
        assert (found.n_artifacts, found.n_files, found.problems) == (2, 2, ())
    assert find_garbage(store, grace_hours=0) == []
    store.write(f"{store.relative(artifact.uri)}/rows-00000.parquet", b"damaged")
    for fast, said in ((True, "has 7 bytes"), (False, "is not what was written")):
        assert said in " ".join(verify_store(store, fast=fast).problems)
    assert store.read_all([]) == []


def test_an_object_written_anew_within_a_second_is_hashed_anew(bucket):
    store = settings_store()
    found: list[tuple[str, int]] = []
    for content in (b"one", b"two"):
        store.write("model/config.json", content)
        found.append(sha256_of(store.uri("model/config.json")))
        assert fetch(store.uri("model/config.json"), found[-1][0]).read_bytes() == content
    assert found == [(hashlib.sha256(content).hexdigest(), 3) for content in (b"one", b"two")]


def test_create_is_exclusive(bucket):
    store = settings_store()
    assert store.create("a/b.json", b"1")
    assert not store.create("a/b.json", b"2")
    assert store.read("a/b.json") == b"1"


def test_a_lease_is_held_by_one(bucket):
    store = settings_store()
    with (
        lease(store, "a/lease.json"),
        pytest.raises(LeaseHeldError, match="is held by process"),
        lease(store, "a/lease.json"),
    ):
        pass
    with lease(store, "a/lease.json"):
        assert store.exists("a/lease.json")
    assert not store.exists("a/lease.json")


def test_a_missing_bucket_is_one_clear_line(bucket):
    with pytest.raises(StoreError, match="the bucket must exist") as caught:
        ObjectStore("s3://nowhere/run").check_writable()
    assert "\n" not in str(caught.value)


def test_a_run_into_a_missing_bucket_ends_before_any_work(bucket):
    run_file = Path(__file__).parents[2] / "configs" / "python_code.yaml"
    done = subprocess.run(
        [str(Path(sys.executable).with_name("tokgraft")), "run", str(run_file)],
        env={**os.environ, "TOKGRAFT_STORE": "s3://nowhere/run"},
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("tokgraft: not found in s3://nowhere/run")
    assert done.stderr.count("\n") == 1
    assert "the bucket must exist" in done.stderr


def test_wrong_credentials_are_one_clear_line(bucket, server, monkeypatch):
    requests.post(f"{server}/moto-api/reset-auth", data=b"0", timeout=10)
    try:
        with pytest.raises(StoreError, match="credentials in the environment") as caught:
            ObjectStore("s3://grafts/other").check_writable()
        assert "\n" not in str(caught.value)
    finally:
        requests.post(f"{server}/moto-api/reset-auth", data=b"inf", timeout=10)
