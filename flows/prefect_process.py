"""A Prefect server as a child of this process."""

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from infra.process_tree import die_with_parent

START_SECONDS = 120.0
"""An empty database takes a quarter of a minute on two busy cores."""


def url_of(host: str, port: int) -> str:
    """How this machine reaches what is bound there."""
    any_address = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}
    name = f"[{host}]" if ":" in host else host
    return f"http://{any_address.get(host, name)}:{port}"


def start_server(
    host: str, port: int, log: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a server that lives no longer than this process.

    Args:
        host: address to bind to.
        port: likewise.
        log: where its output goes; emptied first.
        environment: variables of it, on top of ours.
    """
    settings = {
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # Prefect lets every page that a browser shows speak to the API; no other page has to.
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": url_of(host, port),
    }
    uvicorn = [sys.executable, "-m", "uvicorn", "--log-level", "error", "--lifespan", "on"]
    address = ["--host", host, "--port", str(port)]
    with log.open("wb") as file:
        return subprocess.Popen(
            [*uvicorn, *address, "--factory", "prefect.server.api.server:create_app"],
            env={**os.environ, **settings, **environment},
            stdout=file,
            stderr=subprocess.STDOUT,
            preexec_fn=_as_a_child,
        )


def _as_a_child() -> None:
    # A terminal's Ctrl-C is for the parent: it ends the server itself, after its last report.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()


def answers(server: subprocess.Popen[bytes], url: str) -> bool:
    """Wait until the server does; False where it ended, or time is up."""
    deadline = time.monotonic() + START_SECONDS
    # Another process on the port may say anything; our server then ends, for it cannot have it.
    not_yet = (urllib.error.URLError, ConnectionError, TimeoutError, http.client.HTTPException)
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(*not_yet):
            urllib.request.urlopen(f"{url}/api/health", timeout=5).close()
            return True
        time.sleep(0.1)
    return False


def reach_directly(host: str = "127.0.0.1") -> None:
    """Where a proxy is set, clients would ask it for our own server too."""
    names = ("no_proxy", "NO_PROXY")
    spared = [host for name in names for host in os.environ.get(name, "").split(",") if host]
    if "*" not in spared:
        os.environ.update(dict.fromkeys(names, ",".join(dict.fromkeys([*spared, host]))))
