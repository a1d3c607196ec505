"""A moto S3 server in a process of its own, and the environment that leads to it."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import boto3
import pytest
import requests

from infra.settings import get_settings

BUCKET = "grafts"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
}


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def moto_server() -> Iterator[str]:
    """The address of a server that lives as long as the block."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(url, process)
        yield url
    finally:
        process.kill()
        process.wait()


def wait_for(url: str, process: subprocess.Popen, seconds: float = 300) -> None:
    """Until something answers there."""
    deadline = time.monotonic() + seconds
    while True:
        assert process.poll() is None, f"the server at {url} ended with {process.returncode}"
        assert time.monotonic() < deadline, f"nothing answers at {url}"
        try:
            requests.get(url, timeout=5)
        except requests.ConnectionError:
            time.sleep(0.1)
        else:
            return


def empty_bucket(url: str) -> None:
    """Forget everything on a moto server but one new bucket."""
    requests.post(f"{url}/moto-api/reset", timeout=10)
    client = boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1",
        aws_access_key_id="testing", aws_secret_access_key="testing",
    )  # fmt: skip
    client.create_bucket(Bucket=BUCKET)
    client.close()


def lead_to(url: str, monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
    """Make a bucket of that server the store, with these variables beside."""
    store = {"AWS_ENDPOINT_URL": url, "TOKGRAFT_STORE": f"s3://{BUCKET}/run"}
    for name, value in {**CREDENTIALS, **store, **settings}.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
