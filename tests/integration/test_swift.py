"""The store on a server that is not moto: OpenStack Swift 2.38 with its S3 interface.

The test starts the cluster itself (see ``swift_server``), for example after

    python3 -m venv swift && swift/bin/pip install swift 'setuptools<81'
    sudo apt-get install memcached
    SWIFT_PYTHON=swift/bin/python pytest -m slow tests/integration/test_swift.py
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import boto3
import pytest
from s3_server import BUCKET
from swift_server import CREDENTIALS, swift_server, why_absent

from infra.artifacts import all_attempts, find_current, open_artifact, read_artifact
from infra.bucket_files import PART_BYTES
from infra.errors import ArtifactNotFoundError, LeaseHeldError, StoreError
from infra.garbage import find_garbage, remove_garbage
from infra.lease import lease
from infra.object_store import ObjectStore
from infra.settings import get_settings
from infra.stages import StageCall, run_call, settings_store
from infra.verification import verify_store

HERE = Path(__file__).parent
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(why_absent() is not None, reason=str(why_absent())),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with swift_server(tmp_path_factory.mktemp("swift")) as url:
        yield url


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch, own_place: Path) -> str:
    """A store of its own in the cluster's bucket."""
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": server}.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    with suppress(client.exceptions.BucketAlreadyOwnedByYou):
        client.create_bucket(Bucket=BUCKET)
    client.close()
    monkeypatch.setenv("TOKGRAFT_STORE", f"s3://{BUCKET}/{own_place.name}")
    get_settings.cache_clear()
    return BUCKET


def body(attempt):
    (attempt.folder / "part").mkdir()
    (attempt.folder / "part" / "a.txt").write_text("text")
    (attempt.folder / "weights.bin").write_bytes(b"x" * (2 * PART_BYTES + 1))
    return {"n": 1}


NUMBERS = StageCall("numbers", 1, {}, ())


def test_publish_find_open_verify_and_collect(bucket: str):
    artifact = run_call(NUMBERS, 1, body, lambda *_: None)
    store = settings_store()
    assert find_current(store, "numbers", NUMBERS.key) == (artifact, 1)
    folder = open_artifact(artifact)
    assert (folder / "part" / "a.txt").read_text() == "text"
    assert (folder / "weights.bin").stat().st_size == 2 * PART_BYTES + 1
    found = verify_store(store, fast=False)
    assert (found.n_artifacts, found.n_files, found.problems) == (1, 2, ())
    store.delete_file(f"numbers/{NUMBERS.key}/current-1.json")
    assert find_garbage(store, grace_hours=1) == []
    remove_garbage(store, find_garbage(store, grace_hours=0))
    assert list(store.files()) == []
    with pytest.raises(ArtifactNotFoundError):
        read_artifact(artifact.uri)


def test_racers_all_hold_a_readable_artifact(bucket: str, own_place: Path):
    racers = [
        subprocess.Popen(
            [sys.executable, str(HERE / "racing_stage.py"), str(number), str(time.time() + 6)],
            env={**os.environ, "TOKGRAFT_CACHE_DIR": str(own_place / f"cache{number}")},
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    said = [racer.communicate(timeout=900)[0].split(" ", 1) for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * 4
    assert [text for _, text in said] == ["the same\n"] * 4
    store = settings_store()
    assert verify_store(store, fast=False).problems == ()
    current, _ = find_current(store, "raced", StageCall("raced", 1, {}, ()).key)
    assert current is not None
    remove_garbage(store, find_garbage(store, grace_hours=0))
    assert list(all_attempts(store)) == [store.relative(current.uri)]
    assert (open_artifact(current) / "text.txt").read_text() == "the same"


def test_create_is_exclusive_and_a_lease_is_held_by_one(bucket: str):
    store = settings_store()
    assert store.create("a/b.json", b"1")
    assert not store.create("a/b.json", b"2")
    assert store.read("a/b.json") == b"1"
    with (
        lease(store, "a/lease.json"),
        pytest.raises(LeaseHeldError, match="is held by process"),
        lease(store, "a/lease.json"),
    ):
        pass
    assert not store.exists("a/lease.json")


def test_a_killed_upload_is_found_and_taken_back(bucket: str):
    store = settings_store()
    client = boto3.client("s3")
    prefix = store.root.removeprefix(f"s3://{BUCKET}/")
    key = f"{prefix}/numbers/{'0' * 64}/20200101T000000-00000000/a.bin"
    client.create_multipart_upload(Bucket=BUCKET, Key=key)
    client.close()
    assert find_garbage(store, grace_hours=1) == []
    garbage = find_garbage(store, grace_hours=0)
    assert [g.why for g in garbage] == ["upload never finished"]
    remove_garbage(store, garbage)
    assert store.unfinished_uploads() == []


def test_what_is_wrong_is_one_clear_line(bucket: str, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(StoreError, match="the bucket must exist"):
        ObjectStore("s3://nowhere/run").check_writable()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StoreError, match="credentials in the environment") as caught:
        ObjectStore(f"s3://{BUCKET}/run").check_writable()
    assert "\n" not in str(caught.value)
