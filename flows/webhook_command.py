"""The webhook receiver as a process."""

import os
import signal
import socket
from pathlib import Path
from typing import Any

import uvicorn
from rich.console import Console

from flows.prefect_process import url_of
from flows.run_config import load_config
from flows.up_state import bound
from flows.webhook_check import check_parameters
from infra.settings import get_settings
from infra.webhook.allow_list import AllowList
from infra.webhook.app import Receiver
from infra.webhook.outbox import Outbox
from infra.webhook.protocol import JsonProtocol
from infra.webhook.signing_keys import signing_keys

# Below the time that a supervisor waits before it kills.
_SHUTDOWN_SECONDS = 3


def serve(console: Console, allow_list_file: Path, host: str, port: int) -> None:
    """Take deliveries until SIGTERM or Ctrl-C, which end it with exit code 0 within 5 s.

    Args:
        console: says where it listens.
        allow_list_file: see ``AllowList``.
        host: address to bind.
        port: port to bind.

    Raises:
        RunConfigError: the allow-list cannot be read.
        SigningKeyError: the environment has no secret that may be used.
        NoServerError: no Prefect server is named.
        OutboxError: deliveries cannot be stored.
        PortTakenError: the address cannot be had.
    """
    allow_list = load_config(allow_list_file, AllowList)
    keys = signing_keys(os.environ)
    # Its client's own retries would hide for a minute that the server is away; ours say so.
    os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "0")
    from flows.prefect_runs import prefect_runs, require_server

    require_server()
    outbox_path = get_settings().data_folder / "webhook" / "outbox.sqlite3"
    Outbox(outbox_path).close()  # what is wrong with it is told in one line here, and not later
    listening = bound(host, port, url_of(host, port))
    url = allow_list.public_url or f"http://{host}:{port}"
    receiver = Receiver(
        allow_list=allow_list,
        keys=keys,
        outbox_path=outbox_path,
        open_runs=prefect_runs,
        check=check_parameters,
        base_url=url,
    )
    console.print(f"webhook  {url}/deliveries", soft_wrap=True, highlight=False)
    console.print(f"         {url}/docs", soft_wrap=True, highlight=False)
    with listening:
        _run(receiver, listening)


def _run(receiver: Receiver, listening: socket.socket) -> None:
    config = uvicorn.Config(
        receiver.app(),
        log_config=_LOGGING,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # a sender would choose whose rate limit it falls under
        http=JsonProtocol,
        ws="none",
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
    # uvicorn stops in order and then raises the signal again: that is the end, and no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    uvicorn.Server(config).run([listening])


def _end(*_: object) -> None:
    raise SystemExit(0)


_LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {
        "infra.webhook": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        # Its warnings are of requests that are refused, which our own lines say.
        "uvicorn": {"handlers": ["stderr"], "level": "ERROR", "propagate": False},
    },
}
