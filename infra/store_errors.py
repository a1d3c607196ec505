"""What a file system or an S3 server says, in one line a person can act on."""

import errno
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from infra.credentials import without_credentials
from infra.errors import MissingFileError, StoreError
from infra.s3_client import code_of
from infra.settings import get_settings

_NO_CREDENTIALS = {
    "NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError",
    "CredentialRetrievalError", "SSOTokenLoadError", "UnauthorizedSSOTokenError", "ProfileNotFound",
}  # fmt: skip
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken"}
_THROTTLED = {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "429"}
_TIMEOUTS = {"ReadTimeoutError", "ConnectTimeoutError", "RequestTimeout"}


@contextmanager
def explain(root: str, setting: str = "TOKGRAFT_STORE") -> Generator[None]:
    """Turn errors of a place into a StoreError, or a MissingFileError where that is it.

    Args:
        root: the place.
        setting: what moves it.
    """
    try:
        yield
    except StoreError:
        raise
    except Exception as error:
        # Some errors of botocore are OSErrors too.
        if type(error).__module__.startswith(("boto", "s3transfer")):
            missing, said = _name(error) in ("NoSuchKey", "404"), _of_server(root, error)
        elif isinstance(error, OSError):
            missing, said = isinstance(error, FileNotFoundError), _of_system(root, setting, error)
        else:
            raise
        raise (MissingFileError if missing else StoreError)(said) from error


def _name(error: BaseException) -> str:
    """The server's code, or the kind of error where it did not answer."""
    code, status = code_of(error)
    return code or (str(status) if status else type(error).__name__)


def _of_server(root: str, error: Exception) -> str:
    root = root if "://" in root else "S3"
    last = getattr(error, "last_exception", None)
    if isinstance(last, Exception):  # what repeated tries at a long file ended with
        return _of_server(root, last)
    name, status = _name(error), code_of(error)[1]
    said = without_credentials(" ".join(str(error).split()))[:300]
    settings = get_settings()
    if name in _NO_CREDENTIALS:
        return f"no credentials for {root} ({said}); set AWS_ACCESS_KEY_ID and its secret."
    if name in _EXPIRED:
        return (
            f"{root} refuses access: the credentials have expired ({said}); put new ones into the "
            "environment and start again, finished stages stand."
        )
    if name == "RequestTimeTooSkewed":
        return f"{root} refuses access ({said}); set this machine's clock, and start again."
    if status in (401, 403) or name in ("InvalidAccessKeyId", "SignatureDoesNotMatch"):
        return (
            f"{root} refuses access ({said}); check its permissions, "
            "the credentials in the environment, or TOKGRAFT_STORE."
        )
    if name == "NoSuchBucket":
        return (
            f"not found in {root} ({said}); the bucket must exist: create it, or set "
            "TOKGRAFT_STORE to another."
        )
    if status == 404:
        return f"not found in {root} ({said}); the bucket must exist and the object be written."
    if name in _THROTTLED or status in (429, 503):
        return (
            f"{root} still refuses requests as too many after {settings.store_attempts} tries "
            f"({said}); start again later, finished stages stand, or raise TOKGRAFT_STORE_ATTEMPTS."
        )
    if status >= 500:
        return (
            f"the server of {root} fails, after {settings.store_attempts} tries ({said}); start "
            "again when it works, finished stages stand."
        )
    if name in _TIMEOUTS:
        return (
            f"{root} does not answer within {settings.store_timeout_seconds:g} s, after "
            f"{settings.store_attempts} tries ({said}); start again when it does, or raise "
            "TOKGRAFT_STORE_TIMEOUT_SECONDS."
        )
    if not status:
        return (
            f"{root} cannot be reached, after {settings.store_attempts} tries ({said}); check the "
            "network and AWS_ENDPOINT_URL, then start again, finished stages stand."
        )
    return f"{root} failed: {said}; check TOKGRAFT_STORE and the server."


def _of_system(root: str, setting: str, error: OSError) -> str:
    said = without_credentials(" ".join(str(error).split()))
    name = error.filename
    if "://" not in root and isinstance(name, str) and not Path(name).is_relative_to(root):
        root = name  # a stage met it at a file of its own
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"no space left below {root}, or for scratch files below {tempfile.gettempdir()} "
            f"({said}); free some, or point {setting} or TMPDIR elsewhere."
        )
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return (
            f"{root} refuses access ({said}); check its permissions, "
            f"the credentials in the environment, or {setting}."
        )
    of_socket = isinstance(error, ConnectionError | TimeoutError) or "AF_UNIX" in said
    if of_socket and name is None:
        return (
            f"a connection between processes failed ({said or type(error).__name__}), no file of "
            f"{root}; start again, finished stages stand."
        )
    return f"{root} failed: {said or type(error).__name__}; check {setting} and what it names."
