"""A Hub of our own: models and datasets of a folder, by the same HTTP calls as the public one."""

import hashlib
import json
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34
LARGE = (".parquet", ".safetensors")
"""Suffixes of files that the Hub keeps apart from the repository, with their sha256."""


class Hub(BaseHTTPRequestHandler):
    """Answers for ``root/owner/name/...`` with one commit, which ``main`` names."""

    root: Path
    asked: list[str]

    def do_HEAD(self) -> None:
        """Say how large a file is and what it hashes to."""
        self._answer(with_body=False)

    def do_GET(self) -> None:
        """Give a file, or what is known of a repository or a folder in it."""
        self._answer(with_body=True)

    def do_POST(self) -> None:
        """Tell of some paths."""
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        repository, *_ = self._named(self._parts()[2:])
        files = [repository / path for path in form["paths"]]
        self._send(_as_json([_entry(repository, file) for file in files if file.is_file()]))

    def _answer(self, *, with_body: bool) -> None:
        """``[/datasets]/owner/name/resolve/revision/path``, or ``/api/models|datasets/...``."""
        parts = self._parts()
        self.asked.append(f"{self.command} {'/'.join(parts)}")
        if parts[0] == "api":
            self._describe(parts[2:], with_body=with_body)
            return
        names = parts[1:] if parts[0] == "datasets" else parts
        repository, _, revision, inside = self._named(names)
        file = repository / inside
        if revision not in ("main", COMMIT) or not file.is_file():
            self._refuse("EntryNotFound")
            return
        self._send(file.read_bytes(), with_body=with_body, is_file=True)

    def _describe(self, names: list[str], *, with_body: bool) -> None:
        repository, what, revision, inside = self._named(names)
        if not repository.is_dir() or revision not in ("main", COMMIT):
            self._refuse("RepoNotFound")
            return
        inner = [_entry(repository, path) for path in sorted((repository / inside).rglob("*"))]
        files = [{"rfilename": entry["path"]} for entry in inner if entry["type"] == "file"]
        card = {"id": "/".join(names[:2]), "sha": COMMIT, "siblings": files}
        self._send(_as_json(inner if what == "tree" else card), with_body=with_body)

    def _parts(self) -> list[str]:
        return unquote(urlsplit(self.path).path).strip("/").split("/")

    def _named(self, names: list[str]) -> tuple[Path, str, str, str]:
        """Repository, what is asked of it, revision and path."""
        what, revision, *inside = [*names[2:4], "main", "main"][:2] + names[4:]
        return self.root.joinpath(*names[:2]), what, revision, "/".join(inside)

    def _send(self, data: bytes, *, with_body: bool = True, is_file: bool = False) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Repo-Commit", COMMIT)
        if is_file:
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        else:
            self.send_header("Content-Type", "application/json")
        self.end_headers()
        if with_body:
            self.wfile.write(data)

    def _refuse(self, code: str) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _entry(repository: Path, path: Path) -> dict[str, Any]:
    name = path.relative_to(repository).as_posix()
    if path.is_dir():
        return {"type": "directory", "path": name, "oid": "0" * 40}
    data = path.read_bytes()
    known = {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
    if path.suffix not in LARGE:
        return known
    sha256 = hashlib.sha256(data).hexdigest()
    return {**known, "lfs": {"oid": sha256, "size": len(data), "pointerSize": 134}}


@contextmanager
def hub_server(root: Path) -> Generator[tuple[str, list[str]]]:
    """Address of a Hub with the repositories under ``root``, and what it was asked so far."""
    asked: list[str] = []
    handler = type("Hub", (Hub,), {"root": root, "asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
