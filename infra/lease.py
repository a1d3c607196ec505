"""One live worker on a key: a heartbeat file that says who and when.

A lease saves work; nothing depends on it for correctness. It ends when its holder releases it,
when the holder's process is gone (same host) or when its heartbeat is older than ``STALE_SECONDS``.
"""

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from infra.errors import LeaseHeldError, StoreError
from infra.object_store import ObjectStore

HEARTBEAT_SECONDS = 10.0
STALE_SECONDS = 60.0


@contextmanager
def lease(store: ObjectStore, path: str, wait_seconds: float = 0.0) -> Generator[None]:
    """Hold the lease at ``path`` while the block runs.

    Raises:
        LeaseHeldError: another live process holds it after ``wait_seconds``.
    """
    me = {
        "owner": secrets.token_hex(8), "host": socket.gethostname(), "pid": os.getpid(),
        "process_started": _process_started(os.getpid()),
    }  # fmt: skip
    deadline = time.monotonic() + wait_seconds
    while not _take(store, path, me):
        if time.monotonic() >= deadline:
            holder = _read(store, path) or {}
            raise LeaseHeldError(
                f"{store.uri(path)} is held by process {holder.get('pid')} on "
                f"{holder.get('host')}; wait for it, or end it and start again."
            )
        time.sleep(min(1.0, HEARTBEAT_SECONDS))
    stop = threading.Event()
    beat = threading.Thread(target=_beat, args=(store, path, me, stop), daemon=True)
    beat.start()
    try:
        yield
    finally:
        stop.set()
        beat.join()
        if (_read(store, path) or {}).get("owner") == me["owner"]:
            store.delete(path)


def _take(store: ObjectStore, path: str, me: dict[str, Any]) -> bool:
    record = json.dumps({**me, "heartbeat": time.time()}).encode()
    if store.create(path, record):
        return (_read(store, path) or {}).get("owner") == me["owner"]
    holder = _read(store, path)
    if holder is None or _is_gone(holder):
        store.write(path, record)
        return (_read(store, path) or {}).get("owner") == me["owner"]
    return False


def _is_gone(holder: dict[str, Any]) -> bool:
    if time.time() - holder["heartbeat"] > STALE_SECONDS:
        return True
    if holder["host"] != socket.gethostname():
        return False
    return _process_started(holder["pid"]) != holder["process_started"]


def _process_started(pid: int) -> str | None:
    """A mark that a recycled process id does not share; None when the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]
    except OSError:
        return None


def _beat(store: ObjectStore, path: str, me: dict[str, Any], stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        try:
            if (_read(store, path) or {}).get("owner") != me["owner"]:
                return  # this process slept past its lease, and another took it
            store.write(path, json.dumps({**me, "heartbeat": time.time()}).encode())
        except StoreError:
            continue  # the next beat tries again; a lease that goes stale costs work, not data


def _read(store: ObjectStore, path: str) -> dict[str, Any] | None:
    if not store.exists(path):
        return None
    return json.loads(store.read(path))
