"""An HTTP server that has one answer for every question, and keeps what it was asked."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def answering(
    status: int, body: bytes, *, writes: int | None = None, asked: list[str] | None = None
) -> Iterator[str]:
    """Its address, with a path as Prefect's API has it.

    Args:
        status: of every answer.
        writes: status of answers to what would change something, where that is another.
        body: of every answer.
        asked: where method and path of what it is asked go.
    """

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if asked is not None:
                asked.append(f"{self.command} {self.path}")
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            is_read = self.command == "GET" or writes is None
            self.send_response(status if is_read else writes)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/api"
        finally:
            server.shutdown()
