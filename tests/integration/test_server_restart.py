"""A Prefect server that is restarted knows who had a turn: runs at work keep theirs."""

import os
from pathlib import Path
from unittest.mock import patch

import httpx
import pytest
from webhook_service import Prefect, wait_for

from flows.up_place import Place, server_environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.mark.long
def test_a_lease_of_a_turn_outlives_the_server(tmp_path: Path):
    place = Place("127.0.0.1", 4200, None, tmp_path)
    prefect = Prefect(tmp_path)
    limits = f"{prefect.url}/v2/concurrency_limits"

    def done(path: str, **body: object) -> httpx.Response | None:
        """A server that has just started may still answer that it is busy."""
        answer = httpx.post(f"{limits}{path}", json=body, timeout=60)
        return None if answer.status_code == 503 else answer

    with patch.dict(os.environ, server_environment(place, tmp_path)):
        prefect.start()
        try:
            assert wait_for(lambda: done("/", name="one-turn", limit=1), 300).is_success
            turn = {"slots": 1, "names": ["one-turn"]}
            taken = wait_for(lambda: done("/increment-with-lease", **turn), 300)
            lease = taken.json()["lease_id"]
            prefect.stop()
            prefect.start()
            renewed = wait_for(lambda: done(f"/leases/{lease}/renew", lease_duration=300), 300)
            assert renewed.status_code == 204, renewed.text
            again = wait_for(lambda: done("/increment-with-lease", **turn), 300)
            assert again.status_code == 423  # the turn is taken still
        finally:
            prefect.stop()
