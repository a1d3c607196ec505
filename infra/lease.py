"""One live worker on a key: a heartbeat file that says who and when.

A lease saves work; nothing depends on it for correctness. It ends when its holder releases it,
when the holder's process is gone (same host) or when its heartbeat is older than ``STALE_SECONDS``.
"""

import json
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from infra.errors import LeaseHeldError, LeaseLostError, MissingFileError, StoreError
from infra.heartbeat import is_gone, is_seen_alive, own_record
from infra.object_store import ObjectStore

HEARTBEAT_SECONDS = 10.0
STALE_SECONDS = 60.0
LONG_ENOUGH_SECONDS = STALE_SECONDS + 2 * HEARTBEAT_SECONDS
"""By then a holder has either given a sign of life or is known to be gone."""


class Lease:
    """Held until the block ends, unless another process takes it meanwhile."""

    def __init__(self, store: ObjectStore, path: str) -> None:
        self._store, self._path = store, path
        self._me = own_record()
        self._ended = threading.Event()
        self._lost: LeaseLostError | None = None
        self._beat = threading.Thread(target=self._give_signs_of_life, daemon=True)

    def lost(self) -> LeaseLostError | None:
        """Why the block must not go on; None while it may."""
        return self._lost

    def take(self) -> bool:
        """Whether it is held from now on."""
        if not _take(self._store, self._path, self._me):
            return False
        self._beat.start()
        return True

    def release(self) -> None:
        """Let the next one have it."""
        self._ended.set()
        self._beat.join()
        if (_read(self._store, self._path) or {}).get("owner") == self._me["owner"]:
            self._store.delete_file(self._path)

    def _give_signs_of_life(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS):
            try:
                holder = _read(self._store, self._path)
                if holder is None or holder["owner"] != self._me["owner"]:
                    self._lost = _taken(self._store.uri(self._path), holder)
                    return
                record = {**self._me, "heartbeat": time.time()}
                self._store.write(self._path, json.dumps(record).encode())
            except StoreError:
                continue  # the next beat tries again; a lease that goes stale costs work, not data


@contextmanager
def lease(
    store: ObjectStore,
    path: str,
    wait_seconds: float = 0.0,
    on_wait: Callable[[str], None] = lambda _: None,
) -> Generator[Lease]:
    """Hold the lease at ``path`` while the block runs.

    Args:
        store: where it lies.
        path: in the store.
        wait_seconds: how long to wait for a holder that may be gone: one that gives a sign of
            life is not waited for.
        on_wait: hears what is waited for, again and again.

    Raises:
        LeaseHeldError: another live process holds it.
    """
    held = Lease(store, path)
    deadline = time.monotonic() + wait_seconds
    first: dict[str, Any] | None = None
    while not held.take():
        holder = _read(store, path)
        if holder is None:
            continue  # released since
        first = first or holder
        is_alive = is_seen_alive(holder) or holder["heartbeat"] != first["heartbeat"]
        if is_alive or time.monotonic() >= deadline:
            raise LeaseHeldError(
                f"{store.uri(path)} is held by process {holder.get('pid')} on "
                f"{holder.get('host')}; wait for it, or end it and start again."
            )
        on_wait(
            f"waiting {deadline - time.monotonic():.0f} s at most for process {holder['pid']} on "
            f"{holder['host']}, which held the lease and may be gone"
        )
        time.sleep(min(1.0, HEARTBEAT_SECONDS))
    try:
        yield held
    finally:
        held.release()


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


def _taken(place: str, holder: dict[str, Any] | None) -> LeaseLostError:
    by = f"process {holder['pid']} on {holder['host']}" if holder else "another process"
    return LeaseLostError(
        f"{place} was taken by {by} while this one gave no sign of life for {STALE_SECONDS:.0f} s "
        "(asleep, or cut off from the store); wait for that one, or end it and start again."
    )


def _read(store: ObjectStore, path: str) -> dict[str, Any] | None:
    try:
        return json.loads(store.read(path))
    except MissingFileError:
        return None
