"""The webhook receiver: checks a signed delivery, stores it, answers 202; its run follows.

What comes is checked from cheap to dear, and nothing unsigned is looked into: rate, size,
signature, JSON, allow-list, config, and then the outbox.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from infra.webhook.allow_list import AllowList
from infra.webhook.answers import Accepted, Health, delivery_status
from infra.webhook.body import read_body
from infra.webhook.crowd import Crowd
from infra.webhook.dispatcher import Dispatcher
from infra.webhook.group_commit import GroupCommit
from infra.webhook.openapi import openapi_document
from infra.webhook.openapi_page import openapi_page
from infra.webhook.outbox import Outbox, OutboxError
from infra.webhook.payload import read_delivery
from infra.webhook.rate_limit import RateLimit, RateLimiter
from infra.webhook.refusal import RefusedError
from infra.webhook.runs import (
    BadParametersError,
    Check,
    NotYetError,
    RunRefusedError,
    Runs,
    ServerAwayError,
)
from infra.webhook.signature import (
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    SignatureError,
    check_signature,
)

_LOG = logging.getLogger(__name__)
_STATE_SECONDS = 5.0
_MAX_AT_ONCE = 1000
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class Receiver:
    """All that a receiver is made of."""

    allow_list: AllowList
    """What may be asked for."""
    keys: Sequence[bytes]
    """Secrets that deliveries may be signed with."""
    outbox_path: Path
    """SQLite file on a local disk."""
    open_runs: Callable[[], AbstractAsyncContextManager[Runs]]
    """Who makes the runs."""
    check: Check
    """Of parameters that the allow-list lets through."""
    base_url: str
    """Where senders reach it; no slash at the end."""

    def app(self) -> Starlette:
        """The ASGI application."""
        limiter = RateLimiter(self.allow_list.requests_per_second, self.allow_list.burst)
        document = openapi_document(self.base_url)
        page = openapi_page(document)
        app = Starlette(
            routes=[
                Route("/deliveries", self._deliver, methods=["POST"]),
                Route("/deliveries/{token}", self._status),
                Route("/health", self._health),
                Route("/openapi.json", lambda _: JSONResponse(document)),
                Route("/docs", lambda _: HTMLResponse(page, headers=_PAGE_HEADERS)),
            ],
            middleware=[Middleware(Crowd, _MAX_AT_ONCE), Middleware(RateLimit, limiter)],
            exception_handlers={
                RefusedError: _refuse,
                HTTPException: _not_here,
                OutboxError: _not_stored,
                Exception: _broken,
            },
            lifespan=self._lifespan,
        )
        # Elsewhere than at the address itself there is nothing; a redirect would go where the
        # request's Host header says.
        app.router.redirect_slashes = False
        return app

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncGenerator[None]:
        outbox = Outbox(self.outbox_path)
        try:
            async with self.open_runs() as runs:
                dispatcher = Dispatcher(outbox, runs)
                app.state.outbox, app.state.runs = outbox, runs
                app.state.dispatcher, app.state.commit = dispatcher, GroupCommit(outbox)
                app.state.work = work = asyncio.create_task(dispatcher.work())
                try:
                    yield
                finally:
                    work.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await work
        finally:
            outbox.close()

    async def _deliver(self, request: Request) -> Response:
        body = await read_body(request, self.allow_list.max_body_bytes)
        headers = request.headers
        timestamp, signature = headers.get(TIMESTAMP_HEADER), headers.get(SIGNATURE_HEADER)
        try:
            check_signature(self.keys, timestamp, signature, body, time.time())
        except SignatureError as error:
            raise RefusedError(401, "bad signature", str(error)) from None
        delivery = read_delivery(body)
        self.allow_list.check(delivery)
        try:
            self.check(delivery.deployment, delivery.parameters)
        except BadParametersError as error:
            raise RefusedError(422, "bad parameter", str(error)) from None
        entry, is_new = await request.app.state.commit.insert(delivery)
        status_url = f"{self.base_url}/deliveries/{entry.token}"
        if not is_new:
            raise RefusedError(
                409, "came before",
                f"delivery {entry.id} was taken already and stands for one run; status_url says "
                "what became of it. Give every run that you want an id of its own.",
                more={"id": entry.id, "status_url": status_url},
            )  # fmt: skip
        request.app.state.dispatcher.wake()
        accepted = Accepted(id=entry.id, status_url=status_url)
        return JSONResponse(accepted.model_dump(), 202, {"Location": status_url})

    async def _status(self, request: Request) -> Response:
        state = request.app.state
        entry = await asyncio.to_thread(state.outbox.find, request.path_params["token"])
        if entry is None:
            raise RefusedError(
                404, "no such delivery", "no delivery has this status_url; take it from the answer."
            )
        run_state = None
        if entry.flow_run_id is not None:
            with contextlib.suppress(TimeoutError, ServerAwayError, NotYetError, RunRefusedError):
                async with asyncio.timeout(_STATE_SECONDS):
                    run_state = await state.runs.state(entry.flow_run_id)
        status = delivery_status(entry, run_state, state.dispatcher.problem)
        return JSONResponse(status.model_dump())

    async def _health(self, request: Request) -> Response:
        state = request.app.state
        if state.work.done():
            raise RefusedError(
                503, "not dispatching",
                "deliveries are stored, and no runs are made of them any more; restart the "
                "receiver, which makes those of all that is queued.",
            )  # fmt: skip
        queued = await asyncio.to_thread(state.outbox.n_queued)
        return JSONResponse(Health(queued=queued, problem=state.dispatcher.problem).model_dump())


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    client = request.client.host if request.client else "?"
    _LOG.info("%s, %s, from %s", error.problem.status, error.problem.title, client)
    return error.response()


async def _not_here(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = (
        f"there is no {request.method} {request.url.path[:80]}; POST /deliveries takes deliveries, "
        "and /docs describes the rest."
    )
    title = error.detail.lower()
    return RefusedError(error.status_code, title, detail, headers=error.headers).response()


async def _not_stored(_: Request, error: Exception) -> Response:
    _LOG.error("%s", error)
    detail = "nothing was stored, for the outbox cannot be used now; send again later."
    return RefusedError(503, "not stored", detail, headers={"Retry-After": "30"}).response()


async def _broken(_: Request, error: Exception) -> Response:
    detail = "this is a fault of the receiver, and its log has it; report it there."
    return RefusedError(500, "internal error", detail).response()
