"""Counting the pre-tokens of one shard of the corpus; what every process over shards runs."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from infra.parquet import iter_batches, write_table
from tasks.shared.vocabulary_file import Json
from tasks.tokenizer.chunk_counts import ChunkCounter
from tasks.tokenizer.config import RandomChunks
from tasks.tokenizer.pretoken_counts import to_table
from tasks.tokenizer.pretokens import PretokenCounter


@dataclass(frozen=True)
class ShardOfText:
    """Where one shard lies, and what its counts are to be."""

    text: str
    folder: str
    """Where the counts go, one file a source."""
    number: int
    normalizer: Json | None
    pre_tokenizer: Json | None
    max_pretoken_bytes: int
    chunks: RandomChunks | None = None
    """Cut into these instead."""
    first_document: int = 0
    """Its number among all of the corpus."""


@dataclass
class ShardCounts:
    """What was read; a record of JSON values."""

    n_documents: int = 0
    n_bytes: int = 0
    n_pretokens: int = 0
    n_dropped: int = 0
    n_dropped_bytes: int = 0
    cut_by: str = ""

    def plus(self, other: "ShardCounts") -> "ShardCounts":
        """The sums of both; cut by the slower way of the two."""
        sums = {
            name: value + asdict(other)[name]
            for name, value in asdict(self).items()
            if name != "cut_by"
        }
        ways = [
            way for way in ("chunks", "library", "scanner") if way in (self.cut_by, other.cut_by)
        ]
        return ShardCounts(**sums, cut_by=ways[0] if ways else "")

    def record(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)


def count_shard(shard: ShardOfText) -> tuple[list[str], ShardCounts]:
    """Count a shard; returns the names of the files written and what was read."""
    counters: dict[str, PretokenCounter | ChunkCounter] = {}
    done = ShardCounts()
    for batch in iter_batches([Path(shard.text)], ["source", "text", "n_bytes"], batch_rows=512):
        first = shard.first_document + done.n_documents
        numbered = pa.Table.from_batches([batch]).append_column(
            "number", pa.array(np.arange(first, first + batch.num_rows))
        )
        done.n_documents += batch.num_rows
        done.n_bytes += int(batch["n_bytes"].to_numpy().sum())
        for source in batch["source"].unique().to_pylist():
            if source not in counters:
                counters[source] = _counter_for(shard)
            _add(counters[source], numbered.filter(pc.field("source") == source))
    names: list[str] = []
    for number, source in enumerate(sorted(counters)):
        counter = counters[source]
        counts = counter.result()
        names.append(f"counts-{shard.number:05d}-{number:03d}.parquet")
        write_table(Path(shard.folder) / names[-1], to_table(source, counts))
        done.n_pretokens += int(counts.counts.sum())
        done.n_dropped += counter.n_dropped
        done.n_dropped_bytes += counter.n_dropped_bytes
        done.cut_by = counter.path
    return names, done


def _counter_for(shard: ShardOfText) -> PretokenCounter | ChunkCounter:
    if shard.chunks is not None:
        return ChunkCounter(shard.chunks, shard.max_pretoken_bytes)
    return PretokenCounter(shard.normalizer, shard.pre_tokenizer, shard.max_pretoken_bytes)


def _add(counter: PretokenCounter | ChunkCounter, documents: pa.Table) -> None:
    texts = documents["text"].combine_chunks()
    if isinstance(counter, ChunkCounter):
        counter.add(texts, documents["number"].to_numpy())
    else:
        counter.add(texts)
