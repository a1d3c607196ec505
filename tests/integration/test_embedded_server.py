"""The Prefect server inside a run, and a port that somebody else has."""

import os
import socket
import threading
from pathlib import Path

import httpx
import pytest

from flows import embedded

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_without_records_a_port_taken_meanwhile_costs_a_retry(
    monkeypatch: pytest.MonkeyPatch, own_place: Path
):
    (own_place / "data" / "prefect" / "prefect.db").unlink()
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        taken_port = taken.getsockname()[1]

        def speak() -> None:  # something that is no HTTP, as another program's protocol is
            while True:
                try:
                    connection, _ = taken.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"\x00\x00\x12\x04")

        threading.Thread(target=speak, daemon=True).start()
        ports = iter([taken_port])
        free_port = embedded._free_port
        monkeypatch.setattr(embedded, "_free_port", lambda: next(ports, None) or free_port())
        with embedded.prefect_server():
            url = os.environ["PREFECT_API_URL"]
            assert not url.endswith(f":{taken_port}/api")
            # No page that a browser shows may read it.
            foreign = {"Origin": "https://evil.example"}
            answer = httpx.get(f"{url}/admin/version", headers=foreign, timeout=60)
            assert "access-control-allow-origin" not in answer.headers
    assert "PREFECT_API_URL" not in os.environ
