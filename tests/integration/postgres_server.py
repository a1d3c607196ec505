"""A Postgres server of a test's own that asks for a password."""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from s3_server import free_port
from webhook_service import wait_for

from infra.process_tree import die_with_parent

# Debian keeps them off the path, by version.
PROGRAMS = [Path("/usr/bin"), *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
POSTGRES = next((p for folder in PROGRAMS if (p := folder / "postgres").exists()), None)


@dataclass
class Database:
    """Where it is, and what it keeps."""

    folder: Path
    port: int
    password: str

    @property
    def url(self) -> str:
        return f"postgresql+asyncpg://prefect:{self.password}@127.0.0.1:{self.port}/postgres"


@contextmanager
def postgres_server(password: str = "") -> Iterator[Database]:
    """One for the block; a password is made up for it unless one is given."""
    if POSTGRES is None:
        pytest.skip("no Postgres server on this machine (Debian: apt-get install postgresql)")
    # It refuses to run as root; Debian's package brings a user for it.
    who: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="tokgraft-postgres-", dir="/tmp"))
    database = Database(folder, free_port(), password or secrets.token_hex(16))
    (folder / "password").write_text(database.password)
    for one in (folder, folder / "password"):
        shutil.chown(one, *who.values()) if who else None
    access = ["--auth=scram-sha-256", f"--pwfile={folder / 'password'}", "--username=prefect"]
    subprocess.run(
        [POSTGRES.with_name("initdb"), *access, "--no-sync", f"--pgdata={folder / 'data'}"],
        check=True, stdout=subprocess.DEVNULL, cwd=folder, **who,
    )  # fmt: skip
    (folder / "password").unlink()
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
        wait_for(lambda: b"ready to accept connections" in (folder / "log").read_bytes(), 300)
        yield database
    finally:
        process.send_signal(signal.SIGINT)  # a fast shutdown, clients or not
        process.wait(timeout=30)
        shutil.rmtree(folder)
