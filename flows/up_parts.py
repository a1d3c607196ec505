"""The processes of `tokgraft up`: how they start, and how all of them end."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import httpx

from flows.interrupted_runs import give_back_gone, runs_at_work
from flows.prefect_api import api_at
from flows.prefect_process import answers, start_server
from flows.up_place import Place, UpError, client_environment, server_environment
from infra.process_tree import die_with_parent, end, end_descendants

DEPLOYMENTS = ("adapt/tokgraft", "compare/tokgraft", "evaluate/tokgraft")
_NAMES = sorted({name.partition("/")[2] for name in DEPLOYMENTS})
_END_SECONDS = 2.0
"""For what runs flows together, and for the server: all have to be gone within ten."""
_LAST_ANSWER_SECONDS = 1.0
_ANSWER_SECONDS = 30.0
_READY_SECONDS = 120.0


@dataclass
class Parts:
    """What runs, by name."""

    place: Place
    home: Path
    """Folder of logs and records."""
    webhook_secrets: Mapping[str, str]
    """Variables that the webhook receiver alone is given."""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def logs(self) -> list[Path]:
        """Where each part writes what it has to say."""
        return [self._log(name) for name in self.processes]

    def start(self) -> None:
        """Start all, and come back when runs can be asked for.

        Raises:
            UpError: one did not start; names its log.
        """
        environment = server_environment(self.place, self.home)
        server = start_server(self.place.host, self.place.port, self._log("server"), environment)
        self.processes["server"] = server
        if not answers(server, self.place.url):
            self.check()
            raise UpError(f"the server did not answer in time; its log is {self._log('server')}.")
        with self._api(_ANSWER_SECONDS) as api:
            started = time.time()
            self._start_part("worker", {}, "serve")
            registered = [lambda n=name: _is_registered(api, n, started) for name in DEPLOYMENTS]
            self._wait("worker", lambda: all(is_there() for is_there in registered))
        if self.place.webhook is not None and (hook := self.place.receiver) is not None:
            listening = ("--host", hook.host, "--port", str(hook.port))
            asked = ("webhook", str(self.place.webhook[0]), *listening)
            self._start_part("webhook", self.webhook_secrets, *asked)
            self._wait("webhook", lambda: _receives(hook))

    def check(self) -> None:
        """See that all are there.

        Raises:
            UpError: one ended by itself; names its log.
        """
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise UpError(
                    f"the {name} ended by itself (exit code {process.returncode}); its log is "
                    f"{self._log(name)}."
                )

    def end(self) -> None:
        """End all and whatever they started; runs at work go on at the next start."""
        server = self.processes.pop("server", None)
        with self._api(_LAST_ANSWER_SECONDS) as api:
            at_work = list[dict[str, object]]()
            with contextlib.suppress(httpx.HTTPError):
                at_work = runs_at_work(api, _NAMES)
            end_descendants(_END_SECONDS, spare=frozenset({server.pid} if server else ()))
            # If the server does not take it, the next worker finds these runs and does the same.
            with contextlib.suppress(httpx.HTTPError):
                give_back_gone(api, at_work)
        if server is not None:
            end(server, _END_SECONDS)
        end_descendants(0.0)

    def _log(self, name: str) -> Path:
        return self.home / f"{name}.log"

    def _api(self, seconds: float) -> httpx.Client:
        return api_at(f"{self.place.url}/api", seconds=seconds)

    def _start_part(self, name: str, secrets: Mapping[str, str], *arguments: str) -> None:
        with self._log(name).open("wb") as file:
            self.processes[name] = subprocess.Popen(
                (sys.executable, "-P", "-m", "flows.cli", *arguments),
                env={**os.environ, **client_environment(self.place, self.home), **secrets},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a terminal's Ctrl-C is for the parent, which ends them
                preexec_fn=die_with_parent,
            )

    def _wait(self, name: str, is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while not is_ready():
            self.check()
            if time.monotonic() > deadline:
                raise UpError(f"the {name} is not ready in time; its log is {self._log(name)}.")
            time.sleep(0.2)


def _is_registered(api: httpx.Client, deployment: str, since: float) -> bool:
    """Whether this worker did it, and not one before."""
    try:
        found = api.get(f"/deployments/name/{deployment}")
    except httpx.TransportError:  # a server that has just started may be slow
        return False
    if found.status_code != 200:
        return False
    return datetime.fromisoformat(found.json()["updated"]).timestamp() >= since


def _receives(hook: Place) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{hook.url}/health", timeout=5).is_success
    return False
