"""What tests have Ray's processes do; a module of its own, so that those find it."""

import os
import time
from typing import Any

from infra.ray_cluster import WorkerPlace
from tasks.shared.errors import InputError


def report_for_a_while(payload: dict[str, Any], place: WorkerPlace) -> None:
    """Report every tenth of a second, then leave a file."""
    for step in range(payload["n_reports"]):
        place.report({"step": step, "pid": os.getpid()})
        time.sleep(0.1)
    with open(payload["file"], "w", encoding="ascii") as file:
        file.write("done")


def refuse(shard: int) -> int:
    """Find fault with one shard."""
    if shard == 2:
        raise InputError(f"shard {shard} is bad; leave it out.")
    return -shard
