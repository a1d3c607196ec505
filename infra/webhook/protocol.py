"""HTTP as uvicorn speaks it, and JSON where uvicorn would answer in plain text."""

import logging

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from infra.webhook.refusal import RefusedError

_LOG = logging.getLogger(__name__)


class JsonProtocol(H11Protocol):
    """Answers what is no HTTP like everything else that is refused."""

    def send_400_response(self, msg: str) -> None:
        """Refuse, and close the connection; uvicorn calls this, and its message says no more."""
        _LOG.info("400, bad HTTP, from %s", self.client[0] if self.client else "?")
        # What follows a request that was answered is no request of its own.
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            refusal = RefusedError(
                400, "bad HTTP",
                "the request cannot be read as HTTP/1.1; look at its first line, its headers and "
                "the length of its body.",
                headers={"Connection": "close"},
            ).response()  # fmt: skip
            for event in (
                h11.Response(status_code=400, headers=refusal.raw_headers, reason=b"Bad Request"),
                h11.Data(data=bytes(refusal.body)),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
