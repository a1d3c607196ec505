"""The health check of the image's servers."""

import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from infra.answers import answers


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 503)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_server_answers_with_success_or_it_does_not_answer(address: str):
    assert answers(f"{address}/health")
    assert not answers(f"{address}/busy")


def test_a_proxy_is_not_asked(address: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert answers(f"{address}/health")


def test_where_nobody_listens_the_check_fails():
    command = [sys.executable, "-m", "infra.answers", "http://127.0.0.1:9/health"]
    assert subprocess.run(command, check=False).returncode == 1
