"""What runs in the worker processes: one shard of source files becomes a table of documents."""

import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from infra.debian_packages import members
from infra.errors import CorruptFileError
from infra.parquet import iter_batches, write_table
from tasks.corpus.config import DebianPackages, FilesSource, HubDataset, Source
from tasks.corpus.errors import UnreadableFileError
from tasks.corpus.formats import Rejected, documents_in, tidy
from tasks.corpus.lines import document_id, line_hashes, line_sizes
from tasks.corpus.package_files import documentation_format, is_wanted
from tasks.corpus.routing import Output
from tasks.corpus.scratch import EXTRACTED, SELECTED, ScratchWriter, scratch_batches

_ROWS_A_BATCH = 256


@dataclass(frozen=True)
class Item:
    """One locked file and where it can be read on this machine."""

    name: str
    format: str
    path: Path
    n_bytes: int


@dataclass(frozen=True)
class Shard:
    """Files of one source to read in one go."""

    source: Source
    is_english_edition: bool
    items: tuple[Item, ...]
    target: Path
    """Where the documents go."""


@dataclass(frozen=True)
class Extracted:
    """What came of a shard besides its table."""

    rejected: Counter[tuple[str, str]]
    """Documents that were none, by source and rule."""
    rejected_bytes: Counter[tuple[str, str]]


def extract(shard: Shard) -> Extracted:
    """Read a shard's files and write their documents."""
    rejected: Counter[tuple[str, str]] = Counter()
    rejected_bytes: Counter[tuple[str, str]] = Counter()
    with ScratchWriter(shard.target, EXTRACTED) as writer:
        for document in _documents(shard):
            found = document or Rejected("empty", 0)
            if isinstance(found, Rejected):
                rejected[shard.source.name, found.rule] += 1
                rejected_bytes[shard.source.name, found.rule] += found.n_bytes
                continue
            lines = found.split("\n")[:-1]
            row = {
                "doc_id": document_id(found),
                "text": found,
                "line_hash": line_hashes(lines),
                "line_bytes": line_sizes(lines),
            }
            writer.add(row)
    return Extracted(rejected, rejected_bytes)


def write_output(output: Output) -> None:
    """Sort the documents of one output shard and write its Parquet file."""
    batches = list(scratch_batches(output.scratch))
    rows = pa.Table.from_batches(batches, SELECTED).sort_by(
        [("order", "ascending"), ("doc_id", "ascending")]
    )
    is_train = output.target.name.startswith("train")
    columns = ["doc_id", "source", *([] if is_train else ["suite"]), "text", "n_bytes"]
    write_table(output.target, rows.select(columns))


def _documents(shard: Shard) -> Iterator[str | Rejected]:
    source = shard.source
    text_field = source.text_field if isinstance(source, FilesSource | HubDataset) else ""
    language = source.language if isinstance(source, DebianPackages) else ""
    for item in shard.items:
        if item.format == "deb" and isinstance(source, DebianPackages):
            yield from _package_documents(source, item, is_english=shard.is_english_edition)
        elif item.format == "parquet":
            yield from _parquet_documents(item, text_field)
        else:
            with item.path.open("rb") as file:
                yield from documents_in(item.name, item.format, file, text_field, language)


def _package_documents(
    source: DebianPackages, item: Item, *, is_english: bool
) -> Iterator[str | Rejected]:
    language = "en" if is_english else source.language

    def format_of_path(path: str) -> str | None:
        if not is_wanted(path, source.paths, source.exclude):
            return None
        return source.format or documentation_format(path, language, item.name)

    for path, data in members(item.path, item.name, lambda path: format_of_path(path) is not None):
        if (format := format_of_path(path)) is not None:
            yield from documents_in(f"{item.name}: {path}", format, io.BytesIO(data))


def _parquet_documents(item: Item, text_column: str) -> Iterator[str | Rejected]:
    try:
        schema = pq.read_schema(item.path)
        if text_column not in schema.names:
            raise UnreadableFileError(
                f"{item.name} has no column {text_column!r} (found {', '.join(schema.names)}); "
                "set the source's text_field to the column that holds the text."
            )
        for batch in iter_batches([item.path], [text_column], batch_rows=_ROWS_A_BATCH):
            for value in batch.column(0).to_pylist():
                if value is not None and not isinstance(value, str):
                    raise UnreadableFileError(
                        f"{item.name}: column {text_column!r} is {batch.schema[0].type}, not "
                        "string; name a column of text in text_field."
                    )
                yield tidy(value or "")
    except (CorruptFileError, pa.ArrowException) as error:
        raise UnreadableFileError(
            f"{item.name} cannot be read as Parquet ({' '.join(str(error).split())[:200]}); write "
            "it again or leave it out."
        ) from error
