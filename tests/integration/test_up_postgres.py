"""`tokgraft up` on Postgres, and open to others behind a password."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from test_up import Up, free_port, wait_for

from infra.process_tree import die_with_parent

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# Debian keeps them off the path, by version.
PROGRAMS = [Path("/usr/bin"), *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
POSTGRES = next((p for folder in PROGRAMS if (p := folder / "postgres").exists()), None)


@dataclass
class Database:
    port: int
    password: str

    @property
    def url(self) -> str:
        return f"postgresql+asyncpg://prefect:{self.password}@127.0.0.1:{self.port}/postgres"


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    """A Postgres of this test's own that asks for a password."""
    if POSTGRES is None:
        pytest.skip("no Postgres server on this machine (Debian: apt-get install postgresql)")
    # It refuses to run as root; Debian's package brings a user for it.
    who: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="tokgraft-postgres-"))
    database = Database(free_port(), secrets.token_hex(16))
    (folder / "password").write_text(database.password)
    for one in (folder, folder / "password"):
        shutil.chown(one, *who.values()) if who else None
    access = ["--auth=scram-sha-256", f"--pwfile={folder / 'password'}", "--username=prefect"]
    subprocess.run(
        [POSTGRES.with_name("initdb"), *access, "--no-sync", f"--pgdata={folder / 'data'}"],
        check=True, stdout=subprocess.DEVNULL, cwd=folder, **who,
    )  # fmt: skip
    place = ["-D", folder / "data", "-k", folder, "-h", "127.0.0.1", "-p", str(database.port), "-F"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [POSTGRES, *place],
            stdout=log,
            stderr=log,
            cwd=folder,
            preexec_fn=die_with_parent,
            **who,
        )
    try:
        wait_for(lambda: b"ready to accept connections" in (folder / "log").read_bytes(), 60)
        yield database
    finally:
        process.send_signal(signal.SIGINT)  # a fast shutdown, clients or not
        process.wait(timeout=30)
        shutil.rmtree(folder)


@dataclass
class UpWith(Up):
    """The same with more said on its command line and in its environment."""

    options: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()

    @property
    def command(self) -> list[str]:
        return [*super().command, *self.options]

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, **dict(self.variables)}


@pytest.fixture
def place(tmp_path: Path, write_run: Callable[[Path], dict[str, Any]]) -> Path:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "tiny.yaml").write_text(yaml.safe_dump(write_run(tmp_path)))
    return tmp_path


@contextlib.contextmanager
def running(up: UpWith) -> Iterator[UpWith]:
    try:
        up.start()
        yield up
    finally:
        if up.process is not None and up.process.poll() is None:
            up.end()


def test_a_run_on_postgres_completes_and_all_ends_within_ten_seconds(
    database: Database, place: Path
):
    with running(UpWith(place, free_port(), options=("--database-url", database.url))) as up:
        said = (place / "out").read_text()
        assert f"127.0.0.1:{database.port}/postgres" in said.replace("\n", "")
        run = up.begin("adapt", config="tiny.yaml")
        assert up.wait_until(run, "COMPLETED", "FAILED", "CRASHED")["type"] == "COMPLETED"
        assert set(up.ended_stages(run).values()) == {"Completed"}
        assert up.end() < 10  # no process of it is left, either
    logs = "".join(path.read_text() for path in (place / "data" / "server").glob("*.log"))
    assert database.password not in said + logs


def test_it_ends_within_ten_seconds_on_postgres_while_a_run_works(database: Database, place: Path):
    with running(UpWith(place, free_port(), options=("--database-url", database.url))) as up:
        run = up.begin("adapt", config="tiny.yaml", vocabulary_size=40)
        wait_for(lambda: up.state(run)["type"] == "RUNNING")
        assert up.end() < 10


def test_others_need_the_password(place: Path):
    auth = ("somebody", secrets.token_hex(16))
    variables = (("PREFECT_SERVER_API_AUTH_STRING", ":".join(auth)),)
    up = UpWith(place, free_port(), options=("--host", "0.0.0.0"), variables=variables)
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
