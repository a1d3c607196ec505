"""``tokgraft doctor``: whether a run would work here, before one is tried."""

import base64
import http.client
import importlib.metadata
import json
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

from rich.console import Console

from flows.embedded import EmbeddedServerError, embedded_home
from infra.credentials import without_credentials
from infra.doctor.finding import Finding
from infra.doctor.machine import check_machine
from infra.doctor.ray import check_ray
from infra.doctor.storage import check_storage
from infra.settings import Settings, get_settings

_ANSWER_SECONDS = 10.0
_COLOUR = {"ok": "green", "warn": "yellow", "fail": "red"}


def examine(console: Console) -> bool:
    """Print a line for every check as it ends.

    Returns:
        Whether nothing failed; warnings do not count.
    """
    settings = get_settings()
    works = True
    for finding in _findings(settings):
        works = works and finding.level != "fail"
        colour = _COLOUR[finding.level]
        line = without_credentials("; ".join(filter(None, (finding.said, finding.remedy))))
        console.print(f"[{colour}]{finding.level:<5}[/{colour}]", end="")
        console.print(f"{finding.about:<13} {line}", markup=False, highlight=False, soft_wrap=True)
    return works


def _findings(settings: Settings) -> Iterator[Finding]:
    yield from check_storage(settings)
    yield check_server()
    yield from check_machine(settings)
    yield check_ray(settings)


def check_server() -> Finding:
    """Whether the configured Prefect answers and fits, or one of our own can start."""
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        return _own_server()
    try:
        _ask(f"{url}/health")
        version = str(json.loads(_ask(f"{url}/admin/version")))
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            return Finding(
                "fail", "prefect", f"{url} refuses access ({error.code})",
                "set PREFECT_API_AUTH_STRING to user:password, or PREFECT_API_KEY",
            )  # fmt: skip
        return _no_answer(url, f"HTTP {error.code}")
    except (OSError, ValueError, http.client.HTTPException) as error:
        return _no_answer(url, str(error))
    here = importlib.metadata.version("prefect")
    if version.split(".")[:2] != here.split(".")[:2]:
        remedy = "install the same minor version on both"
        return Finding("warn", "prefect", f"{url} runs {version}, this machine {here}", remedy)
    return Finding("ok", "prefect", f"{url} answers, version {version}")


def _no_answer(url: str, said: str) -> Finding:
    remedy = "start it, correct PREFECT_API_URL, or unset that to use a server inside the run"
    return Finding(
        "fail",
        "prefect",
        f"{url} does not answer as a server ({' '.join(said.split())[:80]})",
        remedy,
    )


def _own_server() -> Finding:
    try:
        home = embedded_home()
        with socket.create_server(("127.0.0.1", 0)):
            pass
    except EmbeddedServerError as error:
        return Finding("fail", "prefect", str(error))
    except OSError as error:
        remedy = "let programs listen on 127.0.0.1, or set PREFECT_API_URL to a server"
        return Finding("fail", "prefect", f"no port on loopback ({error.strerror})", remedy)
    return Finding("ok", "prefect", f"runs start a server of their own, with its home in {home}")


def _ask(url: str) -> bytes:
    request = urllib.request.Request(url)
    if pair := os.environ.get("PREFECT_API_AUTH_STRING"):
        request.add_header("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")
    elif key := os.environ.get("PREFECT_API_KEY"):
        request.add_header("Authorization", f"Bearer {key}")
    with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as answer:
        return answer.read()
