"""A Prefect server that goes away, or is another one, while a run reports to it."""

import contextlib
from collections.abc import Generator, Iterator

import httpx

from flows.prefect_api import PrefectApiError
from infra.errors import InfraError
from tasks.shared.errors import InputError


class ServerLostError(PrefectApiError):
    """The server of a run at work is gone; what Prefect still has to send goes nowhere."""


@contextlib.contextmanager
def loss_told(server: str, remedy: str) -> Generator[None]:
    """Make of a server that is lost in the block one error that says how to go on.

    Args:
        server: which it is, for the message.
        remedy: what to do where it went away.

    Raises:
        ServerLostError: it was away for longer than Prefect's client asks again, or refused.
        InputError: a stage failed, and the server was not there to be told.
        InfraError: likewise.
    """
    try:
        yield
    except Exception as error:
        # At a run's start Prefect wraps what it met in an error of its own.
        loss = _loss(error, remedy) or _loss(error.__cause__, remedy)
        if loss is None:
            raise
        # Prefect tells the server of a stage's error, and puts its own in the place of that one.
        if (first := next(_told_to_people(error), None)) is not None:
            raise first from None
        what, do = loss
        raise ServerLostError(
            f"{server} {what}, and a run reports each stage to one; {do} and run the same "
            "command: finished stages are cached."
        ) from None


def _loss(error: BaseException | None, remedy: str) -> tuple[str, str] | None:
    """What came from Prefect's API in place of an answer, and what to do about it.

    None where it came from elsewhere.
    """
    from prefect.exceptions import ObjectNotFound

    if isinstance(error, ObjectNotFound):
        return "no longer knows the run at work", "see whether it has the database that it had"
    if not isinstance(error, httpx.HTTPError) or not _is_to_the_api(error):
        return None
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        return f"answers a run at work with status {status}", "look into its log"
    return f"went away while the run was at work ({type(error).__name__})", remedy


def _is_to_the_api(error: httpx.HTTPError) -> bool:
    from prefect.settings import get_current_settings

    url = get_current_settings().api.url
    try:
        return url is not None and str(error.request.url).startswith(url)
    except RuntimeError:  # an error that knows no request
        return False


def _told_to_people(error: BaseException) -> Iterator[InputError | InfraError]:
    """Errors that say themselves what to do, among those that came before."""
    while error.__context__ is not None:
        error = error.__context__
        if isinstance(error, InputError | InfraError):
            yield error
