"""A token bucket for each client: a burst at once, then a steady rate."""

import math
import time
from collections import OrderedDict

from starlette.types import ASGIApp, Receive, Scope, Send

from infra.webhook.refusal import RefusedError


class RateLimiter:
    """Buckets by client; the least recently seen are forgotten when there are too many.

    Args:
        per_second: tokens that come back in a second.
        burst: tokens of a full bucket.
        max_clients: buckets kept.
    """

    def __init__(self, per_second: float, burst: int, max_clients: int = 10_000) -> None:
        self._per_second = per_second
        self._burst = burst
        self._max_clients = max_clients
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, now_s: float) -> int:
        """Take one token.

        Args:
            client: whose bucket.
            now_s: a clock that never goes back.

        Returns:
            0 if there was one, else whole seconds until there is.
        """
        tokens, since_s = self._buckets.pop(client, (float(self._burst), now_s))
        tokens = min(self._burst, tokens + (now_s - since_s) * self._per_second)
        allowed = tokens >= 1
        self._buckets[client] = (tokens - 1 if allowed else tokens, now_s)
        if len(self._buckets) > self._max_clients:
            self._buckets.popitem(last=False)
        return 0 if allowed else max(1, math.ceil((1 - tokens) / self._per_second))


class RateLimit:
    """ASGI middleware: a client with an empty bucket gets 429 at once.

    Args:
        app: what it stands before.
        limiter: the buckets.
    """

    def __init__(self, app: ASGIApp, limiter: RateLimiter) -> None:
        self._app = app
        self._limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        app = self._app
        if scope["type"] == "http":
            host = scope["client"][0] if scope.get("client") else ""
            if seconds := self._limiter.take(host, time.monotonic()):
                app = RefusedError(
                    429, "too many requests",
                    f"{host} sent more than is answered; wait {seconds} s and send again.",
                    headers={"Retry-After": str(seconds)},
                ).response()  # fmt: skip
        await app(scope, receive, send)
