"""One live worker on a key: a heartbeat file that says who and when.

A lease saves work; nothing depends on it for correctness. It ends when its holder releases it,
when the holder's process is gone (same host) or when its heartbeat is older than ``STALE_SECONDS``.
"""

import json
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from infra.errors import LeaseHeldError, MissingFileError, StoreError
from infra.heartbeat import is_gone, own_record
from infra.object_store import ObjectStore

HEARTBEAT_SECONDS = 10.0
STALE_SECONDS = 60.0


@contextmanager
def lease(store: ObjectStore, path: str, wait_seconds: float = 0.0) -> Generator[None]:
    """Hold the lease at ``path`` while the block runs.

    Raises:
        LeaseHeldError: another live process holds it after ``wait_seconds``.
    """
    me = own_record()
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
            store.delete_file(path)


def _take(store: ObjectStore, path: str, me: dict[str, Any]) -> bool:
    record = json.dumps({**me, "heartbeat": time.time()}).encode()
    if not store.create(path, record):
        holder = _read(store, path)
        # A server may have taken the record although its answer got lost: then it is this one.
        if holder is not None and holder["owner"] != me["owner"]:
            if not is_gone(holder, STALE_SECONDS):
                return False
            store.write(path, record)
    return (_read(store, path) or {}).get("owner") == me["owner"]


def _beat(store: ObjectStore, path: str, me: dict[str, Any], stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        try:
            if (_read(store, path) or {}).get("owner") != me["owner"]:
                return  # this process slept past its lease, and another took it
            store.write(path, json.dumps({**me, "heartbeat": time.time()}).encode())
        except StoreError:
            continue  # the next beat tries again; a lease that goes stale costs work, not data


def _read(store: ObjectStore, path: str) -> dict[str, Any] | None:
    try:
        return json.loads(store.read(path))
    except MissingFileError:
        return None
