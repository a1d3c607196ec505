"""Names that follow from content: canonical JSON, sha256, keys and digests."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from infra.errors import UnserialisableError


def canonical_json(value: Any) -> bytes:
    """One byte string for equal values, whatever their order of insertion.

    Raises:
        UnserialisableError: ``value`` holds something JSON has no exact form for (NaN included).
    """
    try:
        text = json.dumps(
            value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )
    except (TypeError, ValueError) as error:
        raise UnserialisableError(
            f"cannot make a key of {value!r}: {error}. "
            "Keys hold strings, finite numbers, booleans, lists and mappings only."
        ) from error
    return text.encode()


def stage_key(stage: str, version: int, config: Any, input_digests: Iterable[str]) -> str:
    """The name under which a stage's output is found again (64 hexadecimal digits)."""
    record = {
        "stage": stage,
        "version": version,
        "config": config,
        "inputs": list(input_digests),
    }
    return hashlib.sha256(canonical_json(record)).hexdigest()


def content_digest(sha256_of: Mapping[str, str]) -> str:
    """Digest of an artifact: sha256 over its sorted (path, sha256) pairs."""
    return hashlib.sha256(canonical_json(sorted(sha256_of.items()))).hexdigest()


def file_sha256(path: Path) -> str:
    """Sha256 of a local file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
