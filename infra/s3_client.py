"""One S3 client a process, and which of its errors a second try can mend.

botocore retries what it knows: throttling, 5xx, connections, timeouts. What it does not see or know
is tried again here: an answer that breaks off while it is read, a bare 429, a conflict of two
conditional writes, and an upload whose last answer was lost.
"""

import logging
import os
from functools import lru_cache
from typing import Any

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from infra.settings import get_settings

_LOG = logging.getLogger(__name__)
CONNECT_SECONDS = 10.0
N_CONNECTIONS = 16
_PASSING_CODES = {"ConditionalRequestConflict", "OperationAborted", "NoSuchUpload"}


def s3_client() -> Any:
    """The client for the credentials and the server that the environment names now."""
    settings = get_settings()
    environment = frozenset((k, v) for k, v in os.environ.items() if k.startswith("AWS_"))
    attempts, seconds = settings.store_attempts, settings.store_timeout_seconds
    # A forked child needs sockets of its own.
    return _client(os.getpid(), environment, attempts, seconds)


@lru_cache(maxsize=4)
def _client(_pid: int, _environment: frozenset[tuple[str, str]], tries: int, seconds: float) -> Any:
    from boto3.session import Session
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "total_max_attempts": tries},
        connect_timeout=min(seconds, CONNECT_SECONDS),
        read_timeout=seconds,
        max_pool_connections=N_CONNECTIONS,
    )
    return Session().client("s3", config=config)


def retrying() -> Retrying:
    """Tries again, with growing random waits, what botocore leaves to its caller."""
    return Retrying(
        stop=stop_after_attempt(get_settings().store_attempts),
        wait=wait_random_exponential(multiplier=0.5, max=20),
        retry=retry_if_exception(_may_pass),
        before_sleep=_log_retry,
        reraise=True,
    )


def code_of(error: BaseException) -> tuple[str, int]:
    """What the server called an error, and the HTTP status; ("", 0) where it did not answer."""
    response: Any = getattr(error, "response", None)
    if not isinstance(response, dict):
        return "", 0
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return str(response.get("Error", {}).get("Code", "")), int(status)


def _may_pass(error: BaseException) -> bool:
    from boto3.exceptions import RetriesExceededError
    from botocore.exceptions import ResponseStreamingError

    code, status = code_of(error)
    if code or status:
        response: Any = getattr(error, "response", {})
        was_retried = response.get("ResponseMetadata", {}).get("MaxAttemptsReached", False)
        return not was_retried and (status == 429 or code in _PASSING_CODES)
    return isinstance(error, (ResponseStreamingError, RetriesExceededError))


def _log_retry(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    wait = state.next_action.sleep if state.next_action else 0.0
    _LOG.warning("store: %s; try %d follows in %.1f s", error, state.attempt_number + 1, wait)
