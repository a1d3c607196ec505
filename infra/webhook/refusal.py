"""How the receiver says no: one JSON object for every error (RFC 9457, problem details)."""

from collections.abc import Mapping

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from infra.credentials import without_credentials

_MAX_CHARACTERS = 4000


class Problem(BaseModel):
    """Body of every answer that is an error."""

    title: str = Field(description="Kind of problem, the same for every case of it.")
    status: int = Field(description="HTTP status.")
    detail: str = Field(description="What came, which rule it breaks, and what to do.")


class RefusedError(Exception):
    """A request that is answered with an error.

    Args:
        status: HTTP status.
        title: kind of problem.
        detail: one line: what came, the rule, the remedy.
        headers: to send with it.
        more: further members of the JSON object.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        # Names that a sender chose may hold line ends, and be as long as a body.
        line = without_credentials(" ".join(detail.split()))
        if len(line) > _MAX_CHARACTERS:
            line = f"{line[:_MAX_CHARACTERS]}..."
        self.problem = Problem(status=status, title=title, detail=line)
        self.headers = dict(headers or {})
        self.more = dict(more or {})

    def response(self) -> JSONResponse:
        """The answer."""
        return JSONResponse(
            self.problem.model_dump() | self.more,
            self.problem.status,
            self.headers,
            media_type="application/problem+json",
        )
