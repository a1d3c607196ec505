"""So many requests at once and no more: each may hold a body in memory."""

from starlette.types import ASGIApp, Receive, Scope, Send

from infra.webhook.refusal import RefusedError

_SECONDS = 1


class Crowd:
    """ASGI middleware: who comes when too many are being answered gets 503 at once.

    Args:
        app: what it stands before.
        limit: requests that are answered at the same time.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit
        self._n = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif self._n >= self._limit:
            await RefusedError(
                503, "too busy",
                f"{self._limit:,} requests are being answered; wait {_SECONDS} s and send again.",
                headers={"Retry-After": str(_SECONDS), "Connection": "close"},
            ).response()(scope, receive, send)  # fmt: skip
        else:
            self._n += 1
            try:
                await self._app(scope, receive, send)
            finally:
                self._n -= 1
