"""Count random chunks of text, from which supertokens are learnt."""

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from tasks.tokenizer.config import RandomChunks
from tasks.tokenizer.count_kernels import (
    COUNT,
    N_DROPPED,
    N_DROPPED_BYTES,
    N_ENTRIES,
    count_all,
    empty_table,
)
from tasks.tokenizer.pretoken_counts import PretokenCounts, bytes_and_offsets, sorted_counts
from tasks.tokenizer.random_chunks import cut_chunks


class ChunkCounter:
    """Counts chunks as ``PretokenCounter`` counts words; memory grows with the text itself."""

    path = "chunks"

    def __init__(self, chunks: RandomChunks, max_pretoken_bytes: int) -> None:
        """Start with none.

        Args:
            chunks: how text is cut.
            max_pretoken_bytes: longer chunks are dropped.
        """
        self._chunks = chunks
        self._max_bytes = max_pretoken_bytes
        self._table = empty_table()

    @property
    def n_dropped(self) -> int:
        """Chunks that were too long."""
        return int(self._table.n[N_DROPPED])

    @property
    def n_dropped_bytes(self) -> int:
        """Their bytes."""
        return int(self._table.n[N_DROPPED_BYTES])

    def add(
        self, texts: pa.StringArray | pa.LargeStringArray, numbers: Int64[np.ndarray, " D"]
    ) -> None:
        """Cut and count some texts; nulls hold nothing.

        Args:
            texts: valid UTF-8.
            numbers: of each among all documents of the corpus.
        """
        there_D = texts.is_valid().to_numpy(zero_copy_only=False)
        how = self._chunks
        chunks = cut_chunks(
            texts.drop_null(), numbers[there_D], how.seed, how.passes, how.length_shares
        )
        data, starts = bytes_and_offsets(chunks)
        self._table = count_all(self._table, data, starts, self._max_bytes)

    def result(self) -> PretokenCounts:
        """Give the counts so far."""
        return sorted_counts(self._table, self._table.entries[: self._table.n[N_ENTRIES], COUNT])
