"""The shared secrets: from the environment only, one or, while they are exchanged, two."""

from collections.abc import Mapping

from infra.errors import InfraError
from infra.settings import WEBHOOK_OLD_SECRET, WEBHOOK_SECRET

_MIN_CHARACTERS = 32


class SigningKeyError(InfraError, ValueError):
    """The environment holds no secret that may be used."""


def signing_keys(environment: Mapping[str, str]) -> tuple[bytes, ...]:
    """Keys that a delivery may be signed with, the new one first.

    Raises:
        SigningKeyError: the new one is absent, or one is too short to be safe; no value is shown.
    """
    given = {name: environment.get(name, "") for name in (WEBHOOK_SECRET, WEBHOOK_OLD_SECRET)}
    if not given[WEBHOOK_SECRET]:
        raise SigningKeyError(
            f"{WEBHOOK_SECRET} is not set, and unsigned deliveries are never taken; set it to what "
            "`openssl rand -hex 32` prints, here and where deliveries are sent from."
        )
    for name, secret in given.items():
        if secret and len(secret) < _MIN_CHARACTERS:
            raise SigningKeyError(
                f"{name} has {len(secret)} characters, and at least {_MIN_CHARACTERS} are needed; "
                "`openssl rand -hex 32` prints a good one."
            )
    return tuple(secret.encode("utf-8", "surrogateescape") for secret in given.values() if secret)
