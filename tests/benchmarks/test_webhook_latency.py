"""How long 200 senders wait for their answer when all send at once, and their runs after that.

The peer is a bare Starlette application under the same server that reads the body and answers 202:
what is above it is signature, checks, and the disk.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from webhook_service import (
    Answer,
    Prefect,
    Webhook,
    mixed_deliveries,
    running,
    send_at_once,
    wait_for,
)

from flows import embedded

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(900)]

N = 200
ROUNDS = 5
BARE = """
import sys, uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

async def take(request):
    await request.body()
    return JSONResponse({}, 202)

app = Starlette(routes=[Route("/deliveries", take, methods=["POST"])])
uvicorn.run(app, port=int(sys.argv[1]), log_level="error", access_log=False)
"""


@pytest.fixture
def bare_port() -> Iterator[int]:
    port = embedded._free_port()
    server = subprocess.Popen([sys.executable, "-c", BARE, str(port)])
    try:
        wait_for(lambda: _listens(port), 60)
        yield port
    finally:
        server.kill()
        server.wait()


def _listens(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/").status_code == 404
    except httpx.TransportError:
        return False


def p95_ms(answers: list[Answer]) -> float:
    return float(np.percentile([answer.seconds * 1000 for answer in answers], 95))


def test_200_at_once(tmp_path: Path, bare_port: int):
    (tmp_path / "prefect").mkdir()
    prefect = Prefect(tmp_path / "prefect")
    prefect.start()
    ours: list[float] = []
    bare: list[float] = []
    runs_seconds: list[float] = []
    try:
        for number in range(ROUNDS):  # each with an outbox, and ids, of its own
            with (
                prefect.deployed(),
                running(Webhook(tmp_path / f"webhook{number}", prefect.url)) as webhook,
            ):
                requests, ids = mixed_deliveries(N)
                bare.append(p95_ms(send_at_once(bare_port, requests)))
                began = time.perf_counter()
                ours.append(p95_ms(send_at_once(webhook.port, requests)))
                wait_for(lambda: webhook.queued() == 0, 120)
                runs_seconds.append(time.perf_counter() - began)
                assert prefect.keys() == ids
    finally:
        prefect.stop()
    print(  # noqa: T201
        f"\n{N} at once, {N // 2} good, {ROUNDS} rounds: p95 of the answer "
        f"{np.median(ours):.0f} ms ({min(ours):.0f} to {max(ours):.0f}), "
        f"bare {np.median(bare):.0f} ms ({min(bare):.0f} to {max(bare):.0f}); "
        f"all runs there after {np.median(runs_seconds):.1f} s ({max(runs_seconds):.1f} at most)"
    )
    assert np.median(ours) < 300
    assert max(runs_seconds) < 60
