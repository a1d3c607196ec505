"""`tokgraft up` on Postgres, and open to others behind a password."""

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from postgres_server import Database, postgres_server
from test_up import Up, free_port, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with postgres_server() as database:
        yield database


@pytest.fixture
def place(tmp_path: Path, write_run: Callable[[Path], dict[str, Any]]) -> Path:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "tiny.yaml").write_text(yaml.safe_dump(write_run(tmp_path)))
    return tmp_path


@contextlib.contextmanager
def running(up: Up) -> Iterator[Up]:
    try:
        up.start()
        yield up
    finally:
        if up.process is not None and up.process.poll() is None:
            up.end()


@pytest.mark.long
def test_a_run_on_postgres_completes_and_all_ends_within_ten_seconds(
    database: Database, place: Path
):
    with running(Up(place, free_port(), options=("--database-url", database.url))) as up:
        said = (place / "out").read_text()
        assert f"127.0.0.1:{database.port}/postgres" in said.replace("\n", "")
        run = up.begin("adapt", config="tiny.yaml")
        assert up.wait_until(run, "COMPLETED", "FAILED", "CRASHED")["type"] == "COMPLETED"
        assert set(up.ended_stages(run).values()) == {"Completed"}
        assert up.end() < 10  # no process of it is left, either
    logs = "".join(path.read_text() for path in (place / "data" / "server").glob("*.log"))
    assert database.password not in said + logs


@pytest.mark.long
def test_it_ends_within_ten_seconds_on_postgres_while_a_run_works(database: Database, place: Path):
    with running(Up(place, free_port(), options=("--database-url", database.url))) as up:
        run = up.begin("adapt", config="tiny.yaml", vocabulary_size=40)
        wait_for(lambda: up.state(run)["type"] == "RUNNING")
        assert up.end() < 10


def test_others_need_the_password(place: Path):
    auth = ("somebody", secrets.token_hex(16))
    variables = {"PREFECT_SERVER_API_AUTH_STRING": ":".join(auth)}
    up = Up(place, free_port(), options=("--host", "0.0.0.0"), variables=variables)
    with running(up):  # ready means that its own worker has come in
        flows = f"http://127.0.0.1:{up.port}/api/flows/filter"
        assert httpx.post(flows, json={}).status_code == 401
        assert httpx.post(flows, json={}, auth=("somebody", "else")).status_code == 401
        named = {flow["name"] for flow in httpx.post(flows, json={}, auth=auth).json()}
        assert {"adapt", "compare", "evaluate"} <= named
        began = time.monotonic()
        up.end()
        assert time.monotonic() - began < 10
    logs = "".join(path.read_text() for path in (place / "data" / "server").glob("*.log"))
    assert auth[1] not in logs + (place / "out").read_text()
