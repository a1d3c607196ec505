"""Everything that runs are started from, in one process tree: server, worker, webhook."""

import contextlib
import ipaddress
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

import httpx

from flows.interrupted_runs import give_back, runs_at_work
from flows.prefect_api import CLIENT_AUTH, SERVER_AUTH, api_at
from flows.prefect_process import answers, reach_directly, start_server
from flows.run_files import SCHEDULES
from flows.up_state import check_port, sole_owner
from infra.errors import InfraError
from infra.process_tree import adopt_orphans, die_with_parent, end, end_descendants
from infra.settings import get_settings

DEPLOYMENTS = ("adapt/tokgraft", "compare/tokgraft", "evaluate/tokgraft")
_END_SECONDS = 2.0
"""For what runs flows together, and for the server: all have to be gone within ten."""
_LAST_ANSWER_SECONDS = 1.0
_ANSWER_SECONDS = 30.0
_READY_SECONDS = 120.0


class UpError(InfraError, RuntimeError):
    """A part did not start, or ended by itself."""


class OpenServerError(InfraError, ValueError):
    """Others could reach a server that asks for no password."""


@dataclass(frozen=True)
class Place:
    """Where a server is to be, and what it keeps its records in."""

    host: str
    port: int
    database_url: str | None
    configs: Path
    webhook: tuple[str, ...] = ()
    """Command that receives webhooks, to be run beside; none: no webhook."""

    @property
    def url(self) -> str:
        """How this machine reaches the server."""
        any_address = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{any_address.get(self.host, name)}:{self.port}"


@dataclass
class Parts:
    """What runs, by name, in the order in which it ends."""

    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    logs: dict[str, Path] = field(default_factory=dict)

    def check(self) -> None:
        """See that all are there.

        Raises:
            UpError: one ended by itself; names its log.
        """
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise UpError(
                    f"the {name} ended by itself (exit code {process.returncode}); its log is "
                    f"{self.logs[name]}."
                )


def up(place: Place, say: Callable[[str, str], None]) -> None:
    """Start all, and work until SIGTERM or Ctrl-C.

    Args:
        place: where.
        say: tells a person what is where: a name and an address.

    Raises:
        AlreadyUpError: there is one already.
        PortTakenError: somebody else has the port.
        OpenServerError: it would be open to others.
        UpError: a part did not start, or ended by itself.
    """
    _check(place)
    home = _home()
    # Signals become an exception at once, so that a start of half a minute can be broken off too.
    with _until_told_to_end(), ExitStack() as stack:
        stack.enter_context(sole_owner(home, place.url))
        check_port(place.host, place.port, place.url)
        reach_directly(urlsplit(place.url).hostname or place.host)
        adopt_orphans()
        parts = Parts()
        stack.callback(_end_all, parts, place)
        _start(parts, place, home)
        say("Prefect", place.url)
        say("API", f"{place.url}/api")
        say("runs", f"{', '.join(DEPLOYMENTS)}, with the files of {place.configs}")
        say("records", (place.database_url and _without_password(place.database_url)) or str(home))
        say("logs", ", ".join(str(log) for log in parts.logs.values()))
        while True:
            parts.check()
            time.sleep(0.5)


def _check(place: Place) -> None:
    if not place.configs.is_dir():
        raise UpError(f"no folder {place.configs}; --configs names the one that holds run files.")
    if (place.configs / SCHEDULES).exists():  # a look at it takes a second or two
        from flows.schedules import read_schedules

        read_schedules(place.configs)
    if not _is_loopback(place.host) and not os.environ.get(SERVER_AUTH):
        raise OpenServerError(
            f"--host {place.host} can be reached by others, who could start runs here; set "
            f"{SERVER_AUTH}=NAME:PASSWORD, which the server then asks for, or leave --host out."
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _home() -> Path:
    """Not the embedded server's: two servers on one SQLite file would schedule everything twice."""
    home = get_settings().data_folder / "server"
    try:
        home.mkdir(parents=True, exist_ok=True)
        (home / "server.log").touch()
    except OSError as error:
        raise UpError(
            f"{home} cannot be written ({error.strerror}); the server keeps its records there: "
            "set TOKGRAFT_DATA_FOLDER to a folder that can."
        ) from error
    return home


@contextmanager
def _until_told_to_end() -> Generator[None]:
    def told(number: int, frame: FrameType | None) -> None:
        # Once: what follows is the end, which a second Ctrl-C must not break off.
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told)
    with contextlib.suppress(KeyboardInterrupt):
        yield


def _start(parts: Parts, place: Place, home: Path) -> None:
    log = parts.logs["server"] = home / "server.log"
    server = start_server(place.host, place.port, log, _server_environment(place, home))
    parts.processes["server"] = server
    if not answers(server, place.url):
        parts.check()
        raise UpError(f"the server did not answer in time; its log is {log}.")
    with _api(place, _ANSWER_SECONDS) as api:
        try:
            give_back(api, runs_at_work(api, _names()))
        except httpx.HTTPError as error:
            raise UpError(f"the server answers with {error!r}; its log is {log}.") from error
        started = time.time()
        environment = {**_client_environment(place, home), "TOKGRAFT_CONFIGS": str(place.configs)}
        serve = (sys.executable, "-m", "flows.cli", "serve")
        _start_part(parts, "worker", serve, home, environment)
        if place.webhook:
            _start_part(parts, "webhook", place.webhook, home, environment)
        _wait_for_deployments(api, parts, started)


def _server_environment(place: Place, home: Path) -> dict[str, str]:
    environment = {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_API_HOST": place.host,
        "PREFECT_SERVER_API_PORT": str(place.port),
        "PREFECT_SERVER_UI_API_URL": "/api",  # of the host that the browser reached it by
        # Prefect lets every page that a browser shows speak to the API; no other page has to.
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": place.url,
        "DO_NOT_TRACK": "1",
    }
    if place.database_url is not None:
        # Prefect wants the name of an asynchronous driver in it.
        driver = place.database_url.replace("postgresql://", "postgresql+asyncpg://", 1)
        environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = driver
    return environment


def _client_environment(place: Place, home: Path) -> dict[str, str]:
    environment = {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"{place.url}/api",
        "PREFECT_RUNNER_POLL_FREQUENCY": "5",
        "DO_NOT_TRACK": "1",
    }
    if auth := os.environ.get(SERVER_AUTH):
        environment[CLIENT_AUTH] = auth
    return environment


def _start_part(
    parts: Parts, name: str, command: tuple[str, ...], home: Path, environment: dict[str, str]
) -> None:
    log = parts.logs[name] = home / f"{name}.log"
    with log.open("wb") as file:
        parts.processes[name] = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a terminal's Ctrl-C is for this process, which ends them
            preexec_fn=die_with_parent,
        )


def _wait_for_deployments(api: httpx.Client, parts: Parts, started: float) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    waiting = list(DEPLOYMENTS)
    while waiting:
        parts.check()
        if time.monotonic() > deadline:
            log = parts.logs["worker"]
            raise UpError(f"the worker did not register {', '.join(waiting)}; its log is {log}.")
        waiting = [name for name in waiting if not _is_registered(api, name, started)]
        time.sleep(0.2)


def _is_registered(api: httpx.Client, name: str, since: float) -> bool:
    """Whether this worker did it, and not one before."""
    try:
        found = api.get(f"/deployments/name/{name}")
    except httpx.TransportError:  # a server that has just started may be slow
        return False
    if found.status_code != 200:
        return False
    return datetime.fromisoformat(found.json()["updated"]).timestamp() >= since


def _end_all(parts: Parts, place: Place) -> None:
    """The worker first, while there is a server to tell what became of its runs."""
    server = parts.processes.pop("server", None)
    with _api(place, _LAST_ANSWER_SECONDS) as api:
        left = list[dict[str, object]]()
        with contextlib.suppress(httpx.HTTPError):
            left = runs_at_work(api, _names())
        end_descendants(_END_SECONDS, spare=frozenset({server.pid} if server else ()))
        # If the server is gone, the next start finds these runs and does the same.
        with contextlib.suppress(httpx.HTTPError):
            give_back(api, left)
    if server is not None:
        end(server, _END_SECONDS)
    end_descendants(0.0)


def _names() -> list[str]:
    return sorted({name.partition("/")[2] for name in DEPLOYMENTS})


def _api(place: Place, seconds: float) -> httpx.Client:
    return api_at(f"{place.url}/api", seconds=seconds)


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
