"""Tables on their way between two passes: Arrow streams, written as they come."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

_ROWS_A_BATCH = 256

EXTRACTED = pa.schema(
    [
        ("doc_id", pa.string()),
        ("text", pa.string()),
        ("line_hash", pa.list_(pa.uint64())),
        ("line_bytes", pa.list_(pa.uint32())),
    ]
)
"""What a reading shard leaves."""
SELECTED = pa.schema(
    [
        ("order", pa.uint64()),
        ("doc_id", pa.string()),
        ("source", pa.string()),
        ("suite", pa.string()),
        ("text", pa.string()),
        ("n_bytes", pa.int64()),
    ]
)
"""What waits to be sorted into an output shard."""


class ScratchWriter:
    """Append rows to one file, a few hundred in memory at a time."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._file = pa.OSFile(str(path), "wb")
        self._stream = pa.ipc.new_stream(self._file, schema)
        self._schema = schema
        self._rows: list[dict[str, Any]] = []

    def add(self, row: dict[str, Any]) -> None:
        """Append one row."""
        self._rows.append(row)
        if len(self._rows) == _ROWS_A_BATCH:
            self._flush()

    def _flush(self) -> None:
        self._stream.write_batch(pa.RecordBatch.from_pylist(self._rows, schema=self._schema))
        self._rows = []

    def __enter__(self) -> "ScratchWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._rows and error is None:
            self._flush()
        self._stream.close()
        self._file.close()


def scratch_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """Read a file back, batch by batch."""
    with pa.OSFile(str(path), "rb") as file, pa.ipc.open_stream(file) as stream:
        yield from stream
