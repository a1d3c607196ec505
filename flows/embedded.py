"""Prefect without a server of its own: one that lives and dies with this run.

Prefect can start a temporary server itself, but that one outlives a killed run and leaves its
port and database open; ours ends with its parent, whatever ends that.
"""

import contextlib
import ctypes
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from pathlib import Path

from infra.errors import InfraError
from infra.settings import get_settings

_START_SECONDS = 120.0
_TRIES = 3
_PR_SET_PDEATHSIG = 1


class EmbeddedServerError(InfraError, RuntimeError):
    """The Prefect server inside this run did not start."""


@contextlib.contextmanager
def prefect_server() -> Generator[None]:
    """A Prefect API for the block: the one of ``PREFECT_API_URL``, else our own on loopback.

    Enter it before Prefect is imported: it reads its settings then. Variables a person set win.

    Raises:
        EmbeddedServerError: no answer in time; names the log.
    """
    # Our own display shows stages, and the command line shows an error as one line; Prefect's
    # console would repeat both. Its log still goes to the API.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    if os.environ.get("PREFECT_API_URL"):
        yield
        return
    home = embedded_home()
    _reach_loopback_directly()
    os.environ.setdefault("PREFECT_HOME", str(home))
    server, port = _answering_server(home / "server.log")
    os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
    try:
        yield
    finally:
        try:
            _send_what_is_queued()
        finally:
            del os.environ["PREFECT_API_URL"]
            _end(server)


def embedded_home() -> Path:
    """Folder of the embedded server's records, made if need be.

    Raises:
        EmbeddedServerError: it cannot be written.
    """
    home = get_settings().data_folder / "prefect"
    try:
        home.mkdir(parents=True, exist_ok=True)
        (home / "server.log").touch()
    except OSError as error:
        raise EmbeddedServerError(
            f"{home} cannot be written ({error.strerror}); the embedded Prefect server keeps its "
            "records there: set TOKGRAFT_DATA_FOLDER to a folder that can."
        ) from error
    return home


def _reach_loopback_directly() -> None:
    """Where a proxy is set, clients would ask it for our own server too."""
    names = ("no_proxy", "NO_PROXY")
    spared = [host for name in names for host in os.environ.get(name, "").split(",") if host]
    if "*" not in spared:
        os.environ.update(dict.fromkeys(names, ",".join(dict.fromkeys([*spared, "127.0.0.1"]))))


def _answering_server(log: Path) -> tuple[subprocess.Popen[bytes], int]:
    """A server of our own and its port; another one is tried where a port was taken meanwhile."""
    exit_code: int | None = None
    for _ in range(_TRIES):
        port = _free_port()
        server = _start(port, log)
        answers = False
        try:
            if answers := _answers(server, port):
                return server, port
            exit_code = server.poll()
        finally:
            if not answers:
                _end(server)
        if exit_code is None:
            break
    raise EmbeddedServerError(
        f"the embedded Prefect server did not answer (exit code {exit_code}); its log is "
        f"{log}. Start one with `prefect server start` and set PREFECT_API_URL to use that."
    )


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(timeout=5)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _start(port: int, log: Path) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_UI_ENABLED": "0",
    }
    uvicorn = [sys.executable, "-m", "uvicorn", "--log-level", "error", "--lifespan", "on"]
    address = ["--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as file:
        return subprocess.Popen(
            [*uvicorn, *address, "--factory", "prefect.server.api.server:create_app"],
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            preexec_fn=_die_with_parent,
        )


def _die_with_parent() -> None:
    # A terminal's Ctrl-C is for the run: it ends the server itself, after its last report.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _answers(server: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the server does; False where it ended, or time is up."""
    deadline = time.monotonic() + _START_SECONDS
    # Another process on the port may say anything; our server then ends, for it cannot have it.
    not_yet = (urllib.error.URLError, ConnectionError, TimeoutError, http.client.HTTPException)
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(*not_yet):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=5).close()
            return True
        time.sleep(0.1)
    return False


def _send_what_is_queued() -> None:
    """Events and log lines travel in background threads: send them while there is a server."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    EventsWorker.drain_all(timeout=10)
    APILogWorker.drain_all(timeout=10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
