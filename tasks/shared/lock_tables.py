"""Tables of a lock: which files something is made of, and, apart, where they lie."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

LOCK_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("format", pa.string()),
        ("sha256", pa.string()),
        ("n_bytes", pa.int64()),
        ("name", pa.string()),
        ("version", pa.string()),
    ]
)
"""One row a file: what is locked. For packages and Hub: name and version or commit."""

ORIGINS_SCHEMA = pa.schema([("sha256", pa.string()), ("uri", pa.string())])
"""Where each file was found; a matter of this machine, hence outside the digest."""


def lock_tables(rows: Sequence[Mapping[str, Any]]) -> tuple[pa.Table, pa.Table]:
    """The lock and the places, sorted by source."""
    ordered = sorted(rows, key=lambda row: str(row["source"]))
    lock = [{key: row.get(key) for key in LOCK_SCHEMA.names} for row in ordered]
    places = [{key: row[key] for key in ORIGINS_SCHEMA.names} for row in ordered]
    return (
        pa.Table.from_pylist(lock, schema=LOCK_SCHEMA),
        pa.Table.from_pylist(places, schema=ORIGINS_SCHEMA),
    )
