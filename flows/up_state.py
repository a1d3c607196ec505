"""Who has the port and the records of a server: ours, another Prefect, or something else."""

import fcntl
import json
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from infra.errors import InfraError


class PortTakenError(InfraError, RuntimeError):
    """The port is somebody else's."""


class AlreadyUpError(InfraError, RuntimeError):
    """Another ``tokgraft up`` works on the same records."""


@contextmanager
def sole_owner(home: Path, url: str) -> Generator[None]:
    """Hold the records for the block; the kernel lets go of them when this process ends.

    Raises:
        AlreadyUpError: names the address and the process that has them.
    """
    with (home / "up.json").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            other = json.loads(file.read() or '{"url": "another port", "pid": "unknown"}')
            raise AlreadyUpError(
                f"tokgraft up is running already, on {other['url']} (process {other['pid']}), with "
                f"the records in {home}; use that one, or end it first."
            ) from error
        file.truncate(0)
        file.write(json.dumps({"url": url, "pid": os.getpid()}))
        file.flush()
        yield


def check_port(host: str, port: int, url: str, option: str = "--port") -> None:
    """See that nobody listens there, with the arguments and errors of ``bound``."""
    bound(host, port, url, option).close()


def bound(host: str, port: int, url: str, option: str = "--port") -> socket.socket:
    """A socket that listens there; who connects waits until something takes it.

    Args:
        host: of the address.
        port: of the address.
        url: where who has it may answer.
        option: names another port.

    Raises:
        PortTakenError: says what has it, as far as it tells.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol said: asyncio sends small answers at once over sockets that name it, and
    # over others the second half of an answer waits 40 ms for the first to be acknowledged.
    own = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        own.bind((host, port))
        own.listen()  # two may be bound to one address, and one can listen
    except OSError as error:
        own.close()
        raise PortTakenError(
            f"{host}:{port} cannot be had ({error.strerror}): {_listener(url)}; name another "
            f"one with {option}."
        ) from error
    return own


def _listener(url: str) -> str:
    """What answers at the address."""
    version = _ask(f"{url}/api/admin/version")
    if isinstance(version, str) and _ask(f"{url}/api/health") is True:
        return f"a Prefect {version} server that this command did not start answers there"
    return "another program has it, or it is no address of this machine"


def _ask(url: str) -> Any:
    try:
        return httpx.get(url, timeout=5).json()
    except (httpx.HTTPError, ValueError):
        return None
