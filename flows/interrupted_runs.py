"""Runs that a worker left behind: they go on when there is one again."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import httpx

from flows.at_work import gone_runs

_BEGUN = ("RUNNING", "CANCELLING")
_NOT_FOUND = 404
_AT_WORK = ("RUNNING", "PENDING", "CANCELLING")


def runs_at_work(api: httpx.Client, deployments: Sequence[str]) -> list[dict[str, Any]]:
    """Runs of these deployments (by name) that a worker has taken and not ended."""
    found = api.post(
        "/flow_runs/filter",
        json={
            "deployments": {"name": {"any_": list(deployments)}},
            "flow_runs": {"state": {"type": {"any_": _AT_WORK}}},
        },
    )
    return found.raise_for_status().json()


def give_back(api: httpx.Client, runs: Sequence[dict[str, Any]]) -> int:
    """Let runs whose worker is gone begin again; those that were being cancelled are cancelled.

    A run that ended well or badly by itself meanwhile stays as it ended. Finished stages are in
    the store, so that a run that begins again goes on where it stopped.

    Returns:
        How many wait for a worker now.
    """
    n_waiting = 0
    for run in runs:
        state = api.get(f"/flow_runs/{run['id']}").raise_for_status().json()["state"]["type"]
        if state in ("COMPLETED", "FAILED", "PAUSED", "SCHEDULED"):
            continue
        to: dict[str, Any] = {
            "type": "CANCELLED",
            "message": "Cancelled; its worker is gone.",
        }
        if run["state"]["type"] != "CANCELLING":
            n_waiting += 1
            to = {
                "type": "SCHEDULED",
                "name": "AwaitingRetry",
                "message": "The worker was stopped; the run goes on when there is one again.",
                "state_details": {"scheduled_time": datetime.now(UTC).isoformat()},
            }
        _end_stages(api, run["id"])
        asked = {"state": to, "force": True}
        api.post(f"/flow_runs/{run['id']}/set_state", json=asked).raise_for_status()
    return n_waiting


def give_back_gone(api: httpx.Client, before: Sequence[dict[str, Any]] = ()) -> int:
    """Give back the runs of this machine whose process is gone, and no others.

    Another worker of the same server, here or elsewhere, may be at work on its own: those are left.

    Args:
        api: the server.
        before: runs as they were before their processes were told to end, which may have said
            that they crashed or were cancelled by that.

    Returns:
        How many wait for a worker now.
    """
    n_waiting, known = 0, {run["id"]: run for run in before}
    for gone in gone_runs():
        run = known.get(gone.id)
        if run is None or run["state"]["type"] not in _BEGUN:  # it began since
            answer = api.get(f"/flow_runs/{gone.id}")
            if answer.status_code == _NOT_FOUND:  # another server's
                continue
            run = answer.raise_for_status().json()
        # A later attempt is another worker's.
        if str(run["run_count"]) == gone.attempt and run["state"]["type"] in _BEGUN:
            n_waiting += give_back(api, [run])
        gone.forget()
    return n_waiting


def _end_stages(api: httpx.Client, run: str) -> None:
    """A stage whose process is gone can no longer say that it ended."""
    found = api.post(
        "/task_runs/filter",
        json={
            "flow_runs": {"id": {"any_": [run]}},
            "task_runs": {"state": {"type": {"any_": _AT_WORK}}},
        },
    )
    state = {"type": "CRASHED", "message": "The worker was stopped."}
    for stage in found.raise_for_status().json():
        asked = {"state": state, "force": True}
        api.post(f"/task_runs/{stage['id']}/set_state", json=asked).raise_for_status()
