"""Deliveries on disk: what was answered with 202 is there, whatever ends the process.

SQLite with a write-ahead log and ``synchronous=FULL``: a commit that returned has reached the disk.
"""

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from infra.errors import InfraError
from infra.webhook.payload import Delivery

State = Literal["queued", "dispatched", "failed"]

_PRAGMAS = ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL")
_TABLE = """
CREATE TABLE IF NOT EXISTS deliveries (
    id TEXT PRIMARY KEY,
    token TEXT NOT NULL UNIQUE,
    deployment TEXT NOT NULL,
    parameters TEXT,
    state TEXT NOT NULL DEFAULT 'queued',
    received REAL NOT NULL,
    not_before REAL NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    problem TEXT,
    flow_run_id TEXT
)"""
_ENDED = "CREATE INDEX IF NOT EXISTS ended ON deliveries (received) WHERE state != 'queued'"
_QUEUED = "CREATE INDEX IF NOT EXISTS queued ON deliveries (not_before) WHERE state = 'queued'"
_COLUMNS = "id, token, deployment, parameters, state, received, attempts, problem, flow_run_id"


class OutboxError(InfraError, OSError):
    """The outbox cannot be read or written."""


@dataclass(frozen=True)
class Entry:
    """One delivery and what became of it."""

    id: str
    token: str
    """Unguessable name of its status page."""
    deployment: str
    parameters: dict[str, Any]
    """Empty once the run exists, which holds them then."""
    state: State
    received: float
    """Seconds since 1970."""
    attempts: int
    """Times that a run was asked for in vain."""
    problem: str | None
    flow_run_id: str | None


class Outbox:
    """The table of deliveries; safe to call from several threads.

    Raises:
        OutboxError: from every method, when the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch(mode=0o600)
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            try:
                for statement in (*_PRAGMAS, _TABLE, _QUEUED, _ENDED):
                    self._database.execute(statement)
            except sqlite3.Error:
                self._database.close()
                raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def insert(self, deliveries: Sequence[Delivery]) -> list[tuple[Entry, bool]]:
        """Store deliveries in one transaction; on return they are on disk.

        Returns:
            For each the entry under its id, and whether it is new: an id that is there already
            keeps what it had.
        """
        now = time.time()
        with self._transaction():
            return [self._insert_one(delivery, now) for delivery in deliveries]

    def _insert_one(self, delivery: Delivery, now: float) -> tuple[Entry, bool]:
        values = json.dumps(delivery.parameters, ensure_ascii=False)
        added = self._database.execute(
            "INSERT INTO deliveries (id, token, deployment, parameters, received) "
            "VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
            (delivery.id, secrets.token_urlsafe(16), delivery.deployment, values, now),
        ).rowcount
        entry = self._one("id = ?", delivery.id)
        assert entry is not None  # inserted above, or there before
        return entry, bool(added)

    def find(self, token: str) -> Entry | None:
        """The entry whose status page has this name."""
        with self._explained(), self._lock:
            return self._one("token = ?", token)

    def next_queued(self) -> Entry | None:
        """The delivery to make a run of now: the longest due."""
        with self._explained(), self._lock:
            return self._one(
                "state = 'queued' AND not_before <= ? ORDER BY not_before, rowid", time.time()
            )

    def n_queued(self) -> int:
        """How many wait for their run."""
        with self._explained(), self._lock:
            count = "SELECT count(*) FROM deliveries WHERE state = 'queued'"
            return self._database.execute(count).fetchone()[0]

    def dispatched(self, entry: Entry, flow_run_id: str) -> None:
        """Note that the run exists; its parameters are there now, and no longer here."""
        self._set(entry, state="dispatched", flow_run_id=flow_run_id, parameters=None, problem=None)

    def failed(self, entry: Entry, problem: str) -> None:
        """Note that there will be no run."""
        self._set(entry, state="failed", problem=problem, attempts=entry.attempts + 1)

    def postponed(self, entry: Entry, problem: str, seconds: float) -> None:
        """Leave it queued, and out of the way of others for some seconds."""
        not_before = time.time() + seconds
        self._set(entry, not_before=not_before, problem=problem, attempts=entry.attempts + 1)

    def forget(self, days: float) -> int:
        """Delete what ended and came more than so many days ago; what is queued always stays.

        Returns:
            How many were deleted.
        """
        with self._transaction():
            return self._database.execute(
                "DELETE FROM deliveries WHERE state != 'queued' AND received < ?",
                (time.time() - days * 86_400,),
            ).rowcount

    def _set(self, entry: Entry, **values: object) -> None:
        assignments = ", ".join(f"{name} = ?" for name in values)
        with self._transaction():
            self._database.execute(
                f"UPDATE deliveries SET {assignments} WHERE id = ?", (*values.values(), entry.id)
            )

    def _one(self, condition: str, value: object) -> Entry | None:
        row = self._database.execute(
            f"SELECT {_COLUMNS} FROM deliveries WHERE {condition} LIMIT 1", (value,)
        ).fetchone()
        if row is None:
            return None
        id_, token, deployment, parameters, *rest = row
        return Entry(id_, token, deployment, json.loads(parameters or "{}"), *rest)

    @contextmanager
    def _transaction(self) -> Generator[None]:
        with self._explained(), self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:  # SQLite ends it itself after some errors
                    self._database.execute("ROLLBACK")
                raise

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise OutboxError(
                f"the outbox {self._path} cannot be used ({error}); it needs a local disk with "
                "room, and a folder that can be written (TOKGRAFT_DATA_FOLDER)."
            ) from error
