"""One live worker on a key."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from infra.errors import LeaseHeldError, LeaseLostError
from infra.lease import LONG_ENOUGH_SECONDS, STALE_SECONDS, lease
from infra.stages import settings_store

HOLD = """
import sys, time
from infra.lease import lease
from infra.stages import settings_store
with lease(settings_store(), "k/lease.json"):
    print("held", flush=True)
    time.sleep(60)
"""


def write_holder(heartbeat: float) -> None:
    """The lease of a process that this one cannot see."""
    record = {"owner": "o", "host": "elsewhere", "pid": 7, "process_started": "1"}
    text = json.dumps({**record, "heartbeat": heartbeat})
    settings_store().write("k/lease.json", text.encode())


def test_a_second_holder_is_refused_and_the_lease_ends_with_the_block():
    store = settings_store()
    with lease(store, "k/lease.json"):
        second = lease(store, "k/lease.json")
        with pytest.raises(LeaseHeldError, match=f"held by process {os.getpid()}"):
            second.__enter__()
    with lease(store, "k/lease.json"):
        assert json.loads(store.read("k/lease.json"))["pid"] == os.getpid()
    assert not store.exists("k/lease.json")


def test_a_killed_holder_leaves_no_lease():
    holder = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LeaseHeldError, match=f"held by process {holder.pid}"):
            lease(settings_store(), "k/lease.json").__enter__()
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    with lease(settings_store(), "k/lease.json"):
        assert settings_store().exists("k/lease.json")


def test_a_holder_on_another_host_counts_until_its_heartbeat_is_old():
    store = settings_store()
    write_holder(time.time())
    with pytest.raises(LeaseHeldError, match="elsewhere"):
        lease(store, "k/lease.json").__enter__()
    old = time.time() - STALE_SECONDS - 1
    write_holder(old)
    with lease(store, "k/lease.json"):
        assert json.loads(store.read("k/lease.json"))["owner"] != "o"


def test_a_holder_that_gives_no_sign_of_life_is_waited_for():
    heard: list[str] = []
    write_holder(time.time() - STALE_SECONDS + 1.5)
    with lease(settings_store(), "k/lease.json", LONG_ENOUGH_SECONDS, heard.append):
        assert json.loads(settings_store().read("k/lease.json"))["owner"] != "o"
    assert heard[0] == (
        "waiting 80 s at most for process 7 on elsewhere, which held the lease and may be gone"
    )


def test_a_holder_that_gives_a_sign_of_life_is_not_waited_for():
    write_holder(time.time() - 1)
    sign = threading.Timer(0.5, lambda: write_holder(time.time()))
    sign.start()
    began = time.monotonic()
    with pytest.raises(LeaseHeldError, match="held by process 7 on elsewhere"):
        lease(settings_store(), "k/lease.json", LONG_ENOUGH_SECONDS).__enter__()
    sign.join()
    assert time.monotonic() - began < STALE_SECONDS / 2


def test_a_holder_that_is_seen_alive_is_not_waited_for():
    heard: list[str] = []
    with lease(settings_store(), "k/lease.json"), pytest.raises(LeaseHeldError):
        lease(settings_store(), "k/lease.json", LONG_ENOUGH_SECONDS, heard.append).__enter__()
    assert heard == []


def test_a_lease_that_another_took_is_lost_and_left_to_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("infra.lease.HEARTBEAT_SECONDS", 0.05)
    with lease(settings_store(), "k/lease.json") as held:
        time.sleep(0.3)
        assert held.lost() is None
        write_holder(time.time())
        deadline = time.monotonic() + 20
        while (error := held.lost()) is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert isinstance(error, LeaseLostError)
    assert "lease.json was taken by process 7 on elsewhere while this one" in str(error)
    assert json.loads(settings_store().read("k/lease.json"))["owner"] == "o"
