"""Secrets inside addresses: refused where a person gives one, taken out of what others say.

An address is stored in locks, manifests and Prefect's parameters, and shown in logs and reports.
"""

import re

_USER = re.compile(r"(?<=://)[^/\s'\"]*@")
_QUERY = re.compile(
    r"(?i)(?<=[?&])"
    r"(x-amz-(?:signature|credential|security-token)|sig|signature|token|access_token|api_key"
    r"|password|secret)=[^&\s'\"]+"
)
REMEDY = (
    "take it out, for addresses are stored and shown; secrets are read from the environment "
    "(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, HF_TOKEN) or the usual files of these services"
)


def has_credentials(address: str) -> bool:
    """Whether an address carries a user, a password, or a signed or secret query."""
    return "://" in address and bool(_USER.search(address) or _QUERY.search(address))


def without_credentials(text: str) -> str:
    """The text with users, passwords and secret queries of all addresses in it taken out."""
    return _QUERY.sub(r"\1=...", _USER.sub("", text))
