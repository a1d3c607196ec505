"""One live worker on a key."""

import json
import os
import subprocess
import sys
import time

import pytest

from infra.errors import LeaseHeldError
from infra.lease import STALE_SECONDS, lease
from infra.stages import settings_store

HOLD = """
import sys, time
from infra.lease import lease
from infra.stages import settings_store
with lease(settings_store(), "k/lease.json"):
    print("held", flush=True)
    time.sleep(60)
"""


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
    record = {"owner": "o", "host": "elsewhere", "pid": 1, "process_started": "1"}
    store.write("k/lease.json", json.dumps({**record, "heartbeat": time.time()}).encode())
    with pytest.raises(LeaseHeldError, match="elsewhere"):
        lease(store, "k/lease.json").__enter__()
    old = time.time() - STALE_SECONDS - 1
    store.write("k/lease.json", json.dumps({**record, "heartbeat": old}).encode())
    with lease(store, "k/lease.json"):
        assert json.loads(store.read("k/lease.json"))["owner"] != "o"
