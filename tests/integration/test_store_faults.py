"""What an S3 store does when its server fails: a moto server behind a proxy that breaks things."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from faulty_proxy import Fault, FaultyProxy, faulty_proxy
from s3_server import BUCKET, empty_bucket, lead_to, moto_server

from infra.artifacts import all_attempts, find_current, open_artifact, read_artifact
from infra.bucket_files import PART_BYTES
from infra.checkpoints import Checkpoints
from infra.errors import StoreError
from infra.garbage import find_garbage, remove_garbage
from infra.lease import lease
from infra.parquet import write_table
from infra.s3_client import s3_client
from infra.source_files import list_files
from infra.stages import StageCall, run_call, settings_store
from infra.verification import verify_store

RUN_FILE = Path(__file__).parents[2] / "configs" / "python_code.yaml"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture
def proxy(server: str, monkeypatch: pytest.MonkeyPatch, own_place: Path) -> Iterator[FaultyProxy]:
    """The way to an empty bucket: three tries of two seconds for each request."""
    empty_bucket(server)
    with faulty_proxy(server) as proxy:
        lead_to(
            proxy.url, monkeypatch,
            TOKGRAFT_STORE_ATTEMPTS="3", TOKGRAFT_STORE_TIMEOUT_SECONDS="2",
        )  # fmt: skip
        yield proxy


def silent(done: float, total: float, text: str) -> None:
    """Hear progress and say nothing."""


def body(attempt):
    write_table(attempt.folder / "rows-00000.parquet", pa.table({"id": [1, 2, 3]}))
    return {"n_rows": 3}


NUMBERS = StageCall("numbers", 1, {"a": 1}, ())


@pytest.mark.parametrize(
    "kind",
    [
        {"status": 503, "code": "SlowDown"},
        {"status": 429},
        {"status": 500, "code": "InternalError"},
        {"status": 502},
        {"reset": "before"},
        {"reset": "after"},
        {"delay_seconds": 3.0},
    ],
    ids=lambda kind: "-".join(str(value) for value in kind.values()),
)
def test_what_passes_is_waited_for(proxy: FaultyProxy, kind: dict):
    """Every kind of request of a stage meets it once."""
    requests = (
        ("PUT", "live/"), ("PUT", r"rows-00000\.parquet"), ("PUT", r"manifest\.json"),
        ("PUT", r"current-1\.json"), ("GET", r"current-1\.json"), ("GET", r"manifest\.json"),
        ("GET", r"rows-00000\.parquet"), ("GET", "list-type=2"), ("DELETE", "live/"),
    )  # fmt: skip
    proxy.faults = [Fault(method, path, **kind) for method, path in requests]
    artifact = run_call(NUMBERS, 1, body, silent)
    assert find_current(settings_store(), "numbers", NUMBERS.key) == (artifact, 1)
    assert (open_artifact(artifact) / "rows-00000.parquet").stat().st_size > 100
    assert [fault for fault in proxy.faults if fault.times] == []
    assert verify_store(settings_store(), fast=False).problems == ()
    assert settings_store().children("live") == []


@pytest.mark.parametrize("path", ["manifest.json", "rows-00000.parquet"])
def test_an_answer_that_breaks_off_is_read_again(proxy: FaultyProxy, path: str):
    artifact = run_call(NUMBERS, 1, body, silent)
    proxy.faults = [Fault("GET", path, times=2, reset="middle")]
    folder = open_artifact(read_artifact(artifact.uri))
    assert proxy.faults[0].times == 0
    assert [p.name for p in folder.iterdir()] == ["rows-00000.parquet"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(status=503, code="SlowDown"), "still refuses requests as too many after 3 tries"),
        (Fault(status=429), "still refuses requests as too many after 3 tries"),
        (Fault(status=500, code="InternalError"), "the server of .* fails, after 3 tries"),
        (Fault(reset="before"), "cannot be reached, after 3 tries"),
        (Fault(delay_seconds=3, reset="before"), "does not answer within 2 s, after 3 tries"),
        (Fault(status=400, code="ExpiredToken"), "the credentials have expired"),
        (Fault(status=403, code="AccessDenied"), "credentials in the environment"),
        (Fault(status=403, code="RequestTimeTooSkewed"), "clock"),
        (Fault(status=404, code="NoSuchBucket"), "the bucket must exist: create it"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_pass_is_one_clear_line(proxy: FaultyProxy, fault: Fault, said: str):
    fault.method, fault.path, fault.times = "PUT", r"manifest\.json", 99
    proxy.faults = [fault]
    with pytest.raises(StoreError, match=said) as caught:
        run_call(NUMBERS, 1, body, silent)
    assert "\n" not in str(caught.value)
    assert f"s3://{BUCKET}/run" in str(caught.value)
    n_tries = 1 if 400 <= fault.status < 500 and fault.status != 429 else 3
    assert proxy.count("PUT", r"manifest\.json") == n_tries
    proxy.faults = []
    # Nothing half-written looks finished, and the same call goes on.
    assert list(all_attempts(settings_store())) == []
    assert find_current(settings_store(), "numbers", NUMBERS.key) == (None, 0)
    assert verify_store(settings_store(), fast=False).n_artifacts == 0
    assert run_call(NUMBERS, 1, body, silent).summary == {"n_rows": 3}


@pytest.mark.parametrize(
    "fault",
    [Fault(status=400, code="ExpiredToken"), Fault(status=404, code="NoSuchBucket")],
    ids=["expired credentials", "vanished bucket"],
)
def test_the_command_line_ends_with_one_line_and_code_2(proxy: FaultyProxy, fault: Fault):
    fault.times = 99
    proxy.faults = [fault]
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "artifacts", "verify"],
        env=dict(os.environ), capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("tokgraft: ")
    assert ("expired" if fault.status == 400 else "the bucket must exist") in done.stderr


def test_a_server_that_fails_does_not_look_like_an_absent_file(proxy: FaultyProxy):
    store = settings_store()
    store.write("numbers/x/checkpoints/1/step-00000004/manifest.json", b"{}")
    checkpoints = Checkpoints(store, "numbers/x/checkpoints/1")
    assert checkpoints.steps() == [4]
    looks = [
        lambda: store.exists("a"),
        checkpoints.steps,
        lambda: store.children("numbers"),
        lambda: list(store.files()),
        lambda: list_files(f"s3://{BUCKET}/run/*.txt"),
        lambda: find_current(store, "numbers", NUMBERS.key),
        lambda: find_garbage(store, 0),
    ]
    for status, code in ((403, "AccessDenied"), (500, "InternalError"), (404, "NoSuchBucket")):
        proxy.faults = [Fault(times=99, status=status, code=code)]
        for look in looks if status != 500 else looks[:2]:
            with pytest.raises(StoreError):
                look()


@pytest.mark.slow
def test_a_listing_of_several_pages_is_whole_or_an_error(proxy: FaultyProxy):
    store = settings_store()
    names = [f"many/{number:04d}" for number in range(1100)]
    from infra.parallel import at_once

    at_once(lambda name: store.write(name, b""), names)
    proxy.faults = [Fault("GET", "continuation-token", times=2, status=429)]
    assert [file.path for file in store.files("many")] == names
    proxy.faults = [Fault("GET", "continuation-token", times=99, status=429)]
    with pytest.raises(StoreError, match="too many"):
        list(store.files("many"))


def test_objects_that_a_server_does_not_delete_are_told(proxy: FaultyProxy, server: str):
    artifact = run_call(NUMBERS, 1, body, silent)
    store = settings_store()
    store.delete_file(f"numbers/{NUMBERS.key}/current-1.json")
    (garbage,) = find_garbage(store, 0)
    proxy.faults = [Fault("DELETE", "manifest", times=99, status=403, code="AccessDenied")]
    with pytest.raises(StoreError, match="refuses access"):
        remove_garbage(store, [garbage])
    assert read_artifact(artifact.uri) == artifact
    assert verify_store(store, fast=False).problems == ()


def long_body(attempt):
    (attempt.folder / "weights.bin").write_bytes(os.urandom(PART_BYTES) * 3 + b"end")
    return {}


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        Fault("POST", r"uploads", times=2, status=503, code="SlowDown"),
        Fault("PUT", r"partNumber=2", times=2, status=500, code="InternalError"),
        Fault("PUT", r"partNumber=", times=2, reset="before"),
        Fault("PUT", r"partNumber=3", times=2, reset="after"),
        Fault("PUT", r"partNumber=", times=2, status=429),
        Fault("POST", r"uploadId=", times=2, status=503, code="SlowDown"),
        Fault("POST", r"uploadId=", times=1, reset="after"),
        Fault("GET", r"weights\.bin", times=2, reset="middle"),
        Fault("GET", r"weights\.bin", times=2, status=503, code="SlowDown"),
    ],
    ids=["begin", "part", "reset before part", "reset after part", "throttled part", "complete",
         "answer to complete lost", "broken download", "throttled download"],
)  # fmt: skip
def test_long_files_travel_in_parts_that_are_tried_again(proxy: FaultyProxy, fault: Fault):
    proxy.faults = [fault]
    artifact = run_call(NUMBERS, 1, long_body, silent)
    assert proxy.count("PUT", "partNumber=4") >= 1
    folder = open_artifact(artifact)
    assert (folder / "weights.bin").stat().st_size == 3 * PART_BYTES + 3
    assert fault.times == 0
    assert settings_store().unfinished_uploads() == []


def test_parts_of_an_upload_that_failed_are_taken_back_and_of_a_killed_one_collected(
    proxy: FaultyProxy, server: str
):
    store = settings_store()
    proxy.faults = [Fault("PUT", "partNumber=2", times=99, status=403, code="AccessDenied")]
    with pytest.raises(StoreError, match="refuses access"):
        run_call(NUMBERS, 1, long_body, silent)
    assert store.unfinished_uploads() == []
    assert list(store.files()) == []

    proxy.seen.clear()
    proxy.faults = [Fault("PUT", "partNumber=2", times=99, delay_seconds=60, reset="before")]
    killed = subprocess.Popen([sys.executable, "-c", UPLOAD], env=dict(os.environ))
    while proxy.count("PUT", "partNumber=2") == 0:
        assert killed.poll() is None
    killed.kill()
    killed.wait()
    proxy.faults = []
    (upload,) = store.unfinished_uploads()
    assert upload.path == f"numbers/{'0' * 64}/20200101T000000-00000000/weights.bin"
    foreign = "photos/2019/summer/beach/a.tar"
    s3_client().create_multipart_upload(Bucket=BUCKET, Key=f"run/{foreign}")
    garbage = find_garbage(store, grace_hours=0)  # moto says of each that it began in 2010
    assert [g.why for g in garbage] == ["upload never finished"]
    assert remove_garbage(store, garbage) == garbage
    (left,) = store.unfinished_uploads()
    assert left.path == foreign
    store.abort_upload(left)


UPLOAD = f"""
import os, tempfile
from pathlib import Path
from infra.stages import settings_store
with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "weights.bin"
    file.write_bytes(bytes({3 * PART_BYTES}))
    settings_store().upload(file, "numbers/{"0" * 64}/20200101T000000-00000000/weights.bin")
"""


def test_a_conflict_of_conditional_writes_is_tried_again(proxy: FaultyProxy):
    store = settings_store()
    proxy.faults = [Fault("PUT", "a.json", times=2, status=409, code="ConditionalRequestConflict")]
    assert store.create("a.json", b"1")
    proxy.faults = [Fault("PUT", "a.json", times=2, status=409, code="ConditionalRequestConflict")]
    assert not store.create("a.json", b"2")
    # One that does not end is a lost race, not an error: the reader finds who won.
    proxy.faults = [Fault("PUT", "a.json", times=99, status=409, code="ConditionalRequestConflict")]
    assert not store.create("a.json", b"3")
    assert store.read("a.json") == b"1"


def test_a_lease_whose_answer_got_lost_is_held(proxy: FaultyProxy):
    proxy.faults = [Fault("PUT", "lease.json", times=1, reset="after")]
    with lease(settings_store(), "k/lease.json"):
        assert json.loads(settings_store().read("k/lease.json"))["pid"] == os.getpid()
    assert proxy.faults[0].times == 0
    assert not settings_store().exists("k/lease.json")
