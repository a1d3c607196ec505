"""More requests at once than are wanted."""

import asyncio
from typing import Any

from infra.webhook.crowd import Crowd

SCOPE = {"type": "http", "method": "POST", "path": "/deliveries", "headers": []}


def test_who_comes_when_there_are_too_many_is_told_so_and_the_next_is_not():
    async def answered() -> list[int]:
        go_on = asyncio.Event()
        statuses: list[int] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await go_on.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})

        async def receive() -> Any:
            raise AssertionError("its body is not read")

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        crowd = Crowd(app, limit=2)
        two = [asyncio.create_task(crowd(SCOPE, receive, send)) for _ in range(2)]
        await asyncio.sleep(0)
        await crowd(SCOPE, receive, send)
        go_on.set()
        await asyncio.gather(*two)
        await crowd(SCOPE, receive, send)
        return statuses

    assert asyncio.run(answered()) == [503, 200, 200, 200]
