"""An HTTP proxy in front of an S3 server that fails as it is told to, over real sockets."""

import http.client
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_HOP_BY_HOP = {"connection", "expect", "keep-alive", "transfer-encoding", "te", "upgrade"}


@dataclass
class Fault:
    """What goes wrong with the next ``times`` requests that it matches."""

    method: str = "[A-Z]+"
    """A regular expression, as ``path`` is; the path includes the query."""
    path: str = ""
    header: str = ""
    """Name of one that the request must have."""
    times: int = 1
    status: int = 0
    """Answer this, with ``code`` in S3's XML, and pass nothing on."""
    code: str = ""
    reset: str = ""
    """Break the connection: 'before' or 'after' passing it on, or in the 'middle' of an answer."""
    delay_seconds: float = 0.0
    held_until: threading.Event | None = None
    """Leave the request unanswered until somebody sets this."""
    without_header: str = ""
    """Take this one out of the request."""

    def matches(self, method: str, path: str, headers: Any) -> bool:
        return bool(
            self.times > 0
            and re.fullmatch(self.method, method)
            and re.search(self.path, path)
            and (not self.header or self.header in headers)
        )


@dataclass
class FaultyProxy:
    """Its address, the faults to come and the requests that it saw."""

    url: str
    faults: list[Fault] = field(default_factory=list)
    seen: list[tuple[str, str]] = field(default_factory=list)
    lock: Any = field(default_factory=threading.Lock)

    def take(self, method: str, path: str, headers: Any) -> Fault | None:
        """The fault for a request, counted down."""
        with self.lock:
            self.seen.append((method, path))
            for fault in self.faults:
                if fault.matches(method, path, headers):
                    fault.times -= 1
                    return fault
        return None

    def count(self, method: str, path: str) -> int:
        """How many requests came like that."""
        return sum(1 for m, p in self.seen if m == method and re.search(path, p))


@contextmanager
def faulty_proxy(target: str) -> Iterator[FaultyProxy]:
    """Stand before the server at ``target``."""

    class Handler(_Handler):
        host = urlsplit(target).netloc

    server = _Server(("127.0.0.1", 0), Handler)
    Handler.proxy = proxy = FaultyProxy(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    host: str
    proxy: FaultyProxy

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def handle_any(self) -> None:
        body = self._body()
        fault = self.proxy.take(self.command, self.path, self.headers)
        if fault is None:
            self._answer(*self._pass_on(body, ""))
            return
        time.sleep(fault.delay_seconds)
        if fault.held_until is not None:
            fault.held_until.wait()
        if fault.status:
            said = f"<Error><Code>{fault.code}</Code><Message>told to fail</Message></Error>"
            is_bare = self.command == "HEAD" or not fault.code
            self._answer(fault.status, [], b"" if is_bare else said.encode())
        elif fault.reset == "before":
            self._break()
        else:
            status, headers, data = self._pass_on(body, fault.without_header)
            if fault.reset == "after":
                self._break()
            elif fault.reset == "middle":
                self._answer(status, headers, data, n_sent=len(data) // 2)
                self._break()
            else:
                self._answer(status, headers, data)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self.handle_any
        raise AttributeError(name)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks: list[bytes] = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(chunks)

    def _pass_on(self, body: bytes, without: str) -> tuple[int, list[tuple[str, str]], bytes]:
        left_out = {*_HOP_BY_HOP, "content-length", without.lower()}
        headers = {k: v for k, v in self.headers.items() if k.lower() not in left_out}
        connection = http.client.HTTPConnection(self.host, timeout=60)
        try:
            connection.request(
                self.command, self.path, body, {**headers, "Content-Length": str(len(body))}
            )
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _answer(
        self, status: int, headers: list[tuple[str, str]], data: bytes, n_sent: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in {*_HOP_BY_HOP, "content-length", "date", "server"}:
                self.send_header(name, value)
        length = dict(headers).get("Content-Length", "0") if self.command == "HEAD" else len(data)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(data[:n_sent])
        self.wfile.flush()

    def _break(self) -> None:
        """Reset the connection, as a server does that is killed."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True
