"""What live runs hold, so that ``gc`` leaves it alone however old it is.

A run has a record ``live/{owner}.json`` in its store while it works: who it is, a heartbeat, and
the attempts that it writes and reads. A killed run's record counts until its process is seen to be
gone or its heartbeat is old.
"""

import json
import os
import threading
import time
from collections.abc import Collection, Generator
from contextlib import contextmanager, suppress
from typing import Any

from infra.errors import MissingFileError, StoreError
from infra.heartbeat import is_gone, own_record
from infra.layout import LIVE, LIVE_RECORD
from infra.object_store import ObjectStore, store_at
from infra.parallel import at_once
from infra.records import read_json
from infra.settings import get_settings

HEARTBEAT_SECONDS = 30.0
STALE_SECONDS = 3600.0
"""Much longer than a beat: clocks of machines differ, and servers are away for a while."""


class LiveRun:
    """This process at work on one store."""

    def __init__(self, store: ObjectStore) -> None:
        self.n_users = 0
        self._store = store
        self._me = own_record()
        self._path = f"{LIVE}/{self._me['owner']}.json"
        self._holds: set[str] = set()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def hold(self, paths: Collection[str]) -> None:
        """Keep attempts from ``gc`` from now to the end of the run."""
        with self._lock:
            if not self._holds.issuperset(paths):
                self._holds.update(paths)
                self._write()
            if self._thread.ident is None:
                self._thread.start()

    def drop(self, path: str) -> None:
        """Hold an attempt no longer; ``gc`` hears of it with the next heartbeat."""
        with self._lock:
            self._holds.discard(path)

    def end(self) -> None:
        """Hold nothing any more."""
        self._ended.set()
        if self._thread.ident is None:
            return
        self._thread.join()
        with suppress(StoreError):  # a record that stays counts no longer than this process
            self._store.delete_file(self._path)

    def _write(self) -> None:
        record = {**self._me, "heartbeat": time.time(), "holds": sorted(self._holds)}
        self._store.write(self._path, json.dumps(record).encode())

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS):
            with self._lock, suppress(StoreError):  # the next beat tries again
                self._write()


@contextmanager
def live_run() -> Generator[LiveRun]:
    """A run at work on the store of the settings; inside another one it is that one."""
    store = store_at(get_settings().store_root)
    place = (os.getpid(), store.root)
    with _LOCK:
        run = _runs.setdefault(place, LiveRun(store))
        run.n_users += 1
    try:
        yield run
    finally:
        with _LOCK:
            run.n_users -= 1
            is_over = run.n_users == 0
            if is_over:
                del _runs[place]
        if is_over:
            run.end()


def held_attempts(store: ObjectStore) -> set[str]:
    """Paths of all attempts that some live run holds."""
    living = [r for r in _all_records(store).values() if not _is_gone(r)]
    return {path for record in living for path in record["holds"]}


def ended_runs(store: ObjectStore) -> set[str]:
    """Paths of records that killed runs left."""
    return {path for path, record in _all_records(store).items() if _is_gone(record)}


def _is_gone(record: dict[str, Any]) -> bool:
    return is_gone(record, STALE_SECONDS)


def _all_records(store: ObjectStore) -> dict[str, dict[str, Any]]:
    paths = [f"{LIVE}/{n}" for n in store.children(LIVE) if LIVE_RECORD.fullmatch(n)]
    found = zip(paths, at_once(lambda path: _read(store, path), paths), strict=True)
    return {path: record for path, record in found if record is not None}


def _read(store: ObjectStore, path: str) -> dict[str, Any] | None:
    try:
        return read_json(store, path)
    except MissingFileError:
        return None  # that run has ended since


_LOCK = threading.Lock()
_runs: dict[tuple[int, str], LiveRun] = {}
