"""Prefect without a server of its own: one that lives and dies with this run.

Prefect can start a temporary server itself, but that one outlives a killed run and leaves its
port and database open; ours ends with its parent, whatever ends that.
"""

import contextlib
import logging
import os
import socket
import subprocess
from collections.abc import Generator
from pathlib import Path

from flows.lost_server import loss_told
from flows.prefect_access import require_access
from flows.prefect_process import answers, reach_directly, start_server
from infra.errors import InfraError
from infra.process_tree import end
from infra.settings import get_settings

_TRIES = 3
_END_SECONDS = 5.0


class EmbeddedServerError(InfraError, RuntimeError):
    """The Prefect server inside this run did not start."""


@contextlib.contextmanager
def prefect_server() -> Generator[None]:
    """A Prefect API for the block: the one of ``PREFECT_API_URL``, else our own on loopback.

    Enter it before Prefect is imported: it reads its settings then. Variables a person set win.

    Raises:
        EmbeddedServerError: no answer in time; names the log.
        PrefectApiError: the one of ``PREFECT_API_URL`` cannot be used.
        ServerLostError: the server went away in the block.
    """
    # Our own display shows stages, and the command line shows an error as one line; Prefect's
    # console would repeat both. Its log still goes to the API.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    # A server that is away for a while would be told of by every thread that sends it something.
    os.environ.setdefault("PREFECT_LOGGING_INTERNAL_LEVEL", "CRITICAL")
    logging.raiseExceptions = False
    os.environ.setdefault("DO_NOT_TRACK", "1")
    if url := os.environ.get("PREFECT_API_URL"):
        require_access()
        with loss_told(f"the Prefect server at {url}", "start it again"):
            yield
        return
    home = embedded_home()
    reach_directly()
    os.environ.setdefault("PREFECT_HOME", str(home))
    log = home / "server.log"
    server, port = _answering_server(log)
    os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
    try:
        with loss_told("the Prefect server inside this run", f"look into {log}"):
            yield
    finally:
        try:
            if server.poll() is None:
                _send_what_is_queued()
        finally:
            del os.environ["PREFECT_API_URL"]
            end(server, _END_SECONDS)


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


def _answering_server(log: Path) -> tuple[subprocess.Popen[bytes], int]:
    """A server of our own and its port; another one is tried where a port was taken meanwhile."""
    exit_code: int | None = None
    for _ in range(_TRIES):
        port = _free_port()
        server = start_server("127.0.0.1", port, log, {"PREFECT_UI_ENABLED": "0"})
        is_up = False
        try:
            if is_up := answers(server, f"http://127.0.0.1:{port}"):
                return server, port
            exit_code = server.poll()
        finally:
            if not is_up:
                end(server, _END_SECONDS)
        if exit_code is None:
            break
    raise EmbeddedServerError(
        f"the embedded Prefect server did not answer (exit code {exit_code}); its log is "
        f"{log}. Start one with `prefect server start` and set PREFECT_API_URL to use that."
    )


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
