"""What the tests of whole processes share: a browser without a window."""

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from s3_server import CREDENTIALS
from websockets.sync.client import ClientConnection, connect

from flows.prefect_process import answers, start_server, url_of

BROWSER = next(
    (p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None
)


class Page:
    """One tab."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._last_id = 0

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._last_id += 1
        self._connection.send(
            json.dumps({"id": self._last_id, "method": method, "params": parameters})
        )
        while True:
            answer = json.loads(self._connection.recv(timeout=60))
            if answer.get("id") == self._last_id:
                assert "error" not in answer, answer
                return answer["result"]

    def evaluate(self, script: str) -> Any:
        answer = self.call(
            "Runtime.evaluate",
            expression=f"document.body && ({script})",
            awaitPromise=True,
            returnByValue=True,
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, script: str, seconds: float = 900) -> Any:
        """The script's value once it is true."""
        deadline = time.monotonic() + seconds
        while not (value := self.evaluate(script)):
            assert time.monotonic() < deadline, self.evaluate("document.body.innerText")
            time.sleep(0.2)
        return value

    def open(self, address: str) -> None:
        self.call("Page.navigate", url=address)

    def click(self, script: str) -> None:
        """Press the element that the script finds, as a mouse does."""
        x, y = self.wait_for(
            f"(() => {{ const e = {script}; if (!e) return null;"
            "e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
            "return [r.x + r.width / 2, r.y + r.height / 2] })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self, file: Path) -> None:
        data = self.call("Page.captureScreenshot", format="png")["data"]
        file.write_bytes(base64.b64decode(data))


@pytest.fixture(scope="session")
def prefect_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Prefect database without records: to make one costs a server half of its start."""
    database = tmp_path_factory.mktemp("prefect") / "prefect.db"
    subprocess.run(
        [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"],
        env={
            **os.environ,
            "PREFECT_HOME": str(database.parent),
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{database}",
        },
        capture_output=True, timeout=900, check=True,
    )  # fmt: skip
    return database


@pytest.fixture(scope="session")
def prefect_url(prefect_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prefect server for tests that need any, and not one of their own."""
    home = tmp_path_factory.mktemp("server")
    shutil.copy(prefect_database, home)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {"PREFECT_HOME": str(home), "PREFECT_UI_ENABLED": "0"}
    server = start_server("127.0.0.1", port, home / "server.log", environment)
    try:
        url = url_of("127.0.0.1", port)
        assert answers(server, url), (home / "server.log").read_text()
        yield f"{url}/api"
    finally:
        server.kill()
        server.wait()


@pytest.fixture(autouse=True)
def known_database(request: pytest.FixtureRequest, own_place: Path) -> None:
    """Slow tests start servers, whose first start is a test's of its own."""
    if request.node.get_closest_marker("slow") is None:
        return
    database = request.getfixturevalue("prefect_database")
    for home in ("prefect", "server"):
        (own_place / "data" / home).mkdir(parents=True)
        shutil.copy(database, own_place / "data" / home)


@pytest.fixture
def browser_page(tmp_path: Path) -> Iterator[Page]:
    """An empty tab of Chromium, driven over its DevTools protocol."""
    if BROWSER is None:
        pytest.skip("no Chromium on this machine")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,1000"]
    profile = tmp_path / "profile"
    process = subprocess.Popen(
        [BROWSER, *options, "--remote-debugging-port=0", f"--user-data-dir={profile}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        address_file = profile / "DevToolsActivePort"  # port and path, when it listens
        deadline = time.monotonic() + 200
        while not address_file.exists() or address_file.read_text().count("\n") < 1:
            assert time.monotonic() < deadline, "Chromium does not listen"
            time.sleep(0.1)
        port = address_file.read_text().split()[0]
        tabs = httpx.get(f"http://127.0.0.1:{port}/json", trust_env=False).json()
        address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
        with connect(address, max_size=None, proxy=None) as connection:
            yield Page(connection)
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of an S3 server of this test's own, which the environment leads to."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    yield client
    client.close()
    server.stop()
