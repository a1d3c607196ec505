"""Who a process is, and whether the one that a record tells of still lives."""

import os
import secrets
import socket
import time
from typing import Any


def own_record() -> dict[str, Any]:
    """This process, under a name that no other has."""
    return {
        "owner": secrets.token_hex(8),
        "host": socket.gethostname(),
        "pid_space": _pid_space(),
        "pid": os.getpid(),
        "process_started": _process_started(os.getpid()),
    }


def is_gone(record: dict[str, Any], stale_seconds: float) -> bool:
    """Whether its heartbeat is older than that, or its process is seen to be gone."""
    return time.time() - record["heartbeat"] > stale_seconds or is_seen_alive(record) is False


def is_seen_alive(record: dict[str, Any]) -> bool | None:
    """Whether its process lives; None on another host or in another container: unseen."""
    if record["host"] != socket.gethostname() or record.get("pid_space") != _pid_space():
        return None
    return _process_started(record["pid"]) == record["process_started"]


def _process_started(pid: int) -> str | None:
    """A mark that a recycled process id does not share; None when the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]
    except OSError:
        return None


def _pid_space() -> str | None:
    """Where process ids mean the same: two containers may share a host's name."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None
