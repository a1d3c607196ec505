"""Parquet with fixed writer settings: equal tables have equal bytes."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from infra.errors import CorruptFileError

ROWS_PER_GROUP = 16_384
"""Row group size of every file; part of the bytes, hence of the digest."""


class TableWriter:
    """Write one Parquet file piece by piece, in row groups of fixed size.

    Rows are regrouped, so that the file does not depend on how they were handed over.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema.remove_metadata()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(
            path, self._schema, compression="zstd", version="2.6", store_schema=False
        )
        self._waiting: list[pa.Table] = []
        self._n_waiting = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._flush(everything=True)
        self._writer.close()

    def write(self, rows: pa.Table | pa.RecordBatch) -> None:
        """Append rows; they must have the writer's schema."""
        table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
        self._waiting.append(table.replace_schema_metadata(None).cast(self._schema))
        self._n_waiting += table.num_rows
        if self._n_waiting >= ROWS_PER_GROUP:
            self._flush(everything=False)

    def _flush(self, *, everything: bool) -> None:
        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting).combine_chunks()
        n_rows = table.num_rows if everything else table.num_rows - table.num_rows % ROWS_PER_GROUP
        if n_rows:
            self._writer.write_table(table.slice(0, n_rows), row_group_size=ROWS_PER_GROUP)
        self._waiting = [] if everything else [table.slice(n_rows)]
        self._n_waiting = 0 if everything else table.num_rows - n_rows


def write_table(path: Path, table: pa.Table) -> None:
    """Write a whole table."""
    with TableWriter(path, table.schema) as writer:
        writer.write(table)


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a whole file.

    Raises:
        CorruptFileError: the file is no Parquet, is cut short, or lacks a column.
    """
    with _Named(path):
        return pq.read_table(path, columns=list(columns) if columns is not None else None)


def count_rows(path: Path) -> int:
    """How many rows a table has, from its file's footer."""
    with _Named(path):
        return pq.read_metadata(path).num_rows


def iter_batches(
    paths: Iterable[Path], columns: Sequence[str] | None = None, batch_rows: int = 4096
) -> Iterator[pa.RecordBatch]:
    """Stream record batches over files, in the order given."""
    names = list(columns) if columns is not None else None
    for path in paths:
        with _Named(path), pq.ParquetFile(path) as file:
            yield from file.iter_batches(batch_size=batch_rows, columns=names)


class _Named:
    """Name the file when pyarrow cannot read it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, (pa.ArrowException, OSError)) and not isinstance(
            error, FileNotFoundError
        ):
            raise CorruptFileError(
                f"{self._path} cannot be read as Parquet ({' '.join(str(error).split())[:200]}); "
                "it is damaged or of another format: delete it or write it again."
            ) from error
