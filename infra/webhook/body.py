"""Read a request's body no further than its limits in bytes and in time."""

import asyncio

from starlette.requests import ClientDisconnect, Request

from infra.webhook.refusal import RefusedError

READ_SECONDS = 10.0
# A sender that is still sending sees a reset connection instead of the answer, so that a body
# somewhat over the limit is read to its end and dropped.
_DROPPED_TIMES = 8


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The whole body; no more than ``max_bytes`` are ever held.

    Raises:
        RefusedError: it is longer, or takes more than ``READ_SECONDS`` to come.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > _DROPPED_TIMES * max_bytes:
        raise _too_large(max_bytes)
    body, n_bytes = bytearray(), 0
    try:
        async with asyncio.timeout(READ_SECONDS):
            async for part in request.stream():
                n_bytes += len(part)
                if n_bytes > _DROPPED_TIMES * max_bytes:
                    raise _too_large(max_bytes)
                if n_bytes <= max_bytes:
                    body += part
    except TimeoutError:
        raise RefusedError(
            408, "too slow", f"the body did not come within {READ_SECONDS:.0f} s; send it at once.",
            headers={"Connection": "close"},
        ) from None  # fmt: skip
    except ClientDisconnect:
        raise RefusedError(400, "body cut short", "the connection ended inside the body.") from None
    if n_bytes > max_bytes:
        raise _too_large(max_bytes)
    return bytes(body)


def _too_large(max_bytes: int) -> RefusedError:
    return RefusedError(
        413, "body too large",
        f"the body has more than {max_bytes:,} bytes, which is the limit; name a registered config "
        "instead of sending a long run, or raise max_body_bytes of the allow-list.",
        headers={"Connection": "close"},
    )  # fmt: skip
