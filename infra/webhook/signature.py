"""Who sent it and when: HMAC-SHA256 over the timestamp, a full stop, and the body.

The timestamp is signed with the body, so that a recorded delivery is of no use once the window has
passed. The scheme is the one that Stripe and Slack document for their webhooks; the MAC is RFC 2104
with SHA-256.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence

from infra.errors import InfraError

TIMESTAMP_HEADER = "Tokgraft-Timestamp"
SIGNATURE_HEADER = "Tokgraft-Signature"
WINDOW_SECONDS = 300

_TIMESTAMP = re.compile(r"[1-9][0-9]{0,11}", re.ASCII)


class SignatureError(InfraError, ValueError):
    """Not signed by a key of ours, or not within the window."""


def sign(key: bytes, timestamp: str, body: bytes) -> str:
    """The value of the signature header.

    Args:
        key: shared secret.
        timestamp: value of the timestamp header: whole seconds since 1970, UTC.
        body: as sent, byte for byte.
    """
    return "sha256=" + hmac.new(key, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def check_signature(
    keys: Sequence[bytes], timestamp: str | None, signature: str | None, body: bytes, now: float
) -> None:
    """Accept what one of the keys signed at most ``WINDOW_SECONDS`` before or after now.

    Args:
        keys: valid secrets; two while one replaces the other.
        timestamp: of its header, if that came.
        signature: of its header, if that came.
        body: as received.
        now: seconds since 1970.

    Raises:
        SignatureError: says what is wrong, and nothing about the keys.
    """
    if timestamp is None or signature is None:
        raise SignatureError(
            f"a delivery needs the headers {TIMESTAMP_HEADER} and {SIGNATURE_HEADER}; sign "
            "'TIMESTAMP.BODY' with HMAC-SHA256 and send sha256=HEX."
        )
    # One spelling only, for it is the spelling that is signed.
    if not _TIMESTAMP.fullmatch(timestamp):
        raise SignatureError(
            f"{TIMESTAMP_HEADER} must be whole seconds since 1970 in digits, as `date +%s` prints."
        )
    if abs(age := now - int(timestamp)) > WINDOW_SECONDS:
        when = f"{age:.0f} s old" if age > 0 else f"{-age:.0f} s in the future"
        raise SignatureError(
            f"{TIMESTAMP_HEADER} is {when}, and at most {WINDOW_SECONDS} s are accepted; sign when "
            "you send, and set the clock."
        )
    given = signature.encode("utf-8", "surrogateescape")
    # All keys are tried, whichever fits: time tells nothing about which.
    if not any([hmac.compare_digest(sign(key, timestamp, body).encode(), given) for key in keys]):
        raise SignatureError(
            f"{SIGNATURE_HEADER} does not fit; sign the bytes of the body as sent, behind the "
            "timestamp and a full stop, with the shared secret."
        )
