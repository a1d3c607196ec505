"""Count the pre-tokens of a corpus: the slow half of learning a tokenizer, done once a text.

Counts serve every vocabulary size, every algorithm and every weighting of sources. Known
pre-tokenizers are cut by compiled scanners that read Arrow's buffers as they are and make no
Python object a pre-token; others by the tokenizers library, whose pieces the scanners give too.
"""

from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np
import pyarrow as pa

from tasks.shared.vocabulary_file import Json, unfold
from tasks.tokenizer.count_kernels import (
    COUNT,
    N_DROPPED,
    N_DROPPED_BYTES,
    N_ENTRIES,
    count_all,
    empty_table,
    intern_all,
)
from tasks.tokenizer.cutters import library_cutter, load_parts
from tasks.tokenizer.errors import BrokenTextError
from tasks.tokenizer.library_counts import library_counter
from tasks.tokenizer.pretoken_counts import PretokenCounts, bytes_and_offsets, sorted_counts
from tasks.tokenizer.scan_kernels import cut_texts
from tasks.tokenizer.scan_plan import ScanPlan, plan_scan

_KEEP_ASCII = {"NFC", "NFD", "NFKC", "NFKD"}
_TEXTS_AT_ONCE = 1024
_PRETOKENS_AT_ONCE = 1 << 14


class PretokenCounter:
    """Counts what a normalizer and a pre-tokenizer make of texts.

    Pre-tokens are UTF-8, not the characters of a byte-level alphabet. Memory grows with the
    number of different ones. One thread may use it at a time; several counters in several threads
    run side by side, for the scanner does not hold the interpreter's lock.
    """

    def __init__(
        self, normalizer: Json | None, pre_tokenizer: Json | None, max_pretoken_bytes: int
    ) -> None:
        """Choose the fastest way to cut.

        Args:
            normalizer: value of that name in ``tokenizer.json``.
            pre_tokenizer: the same.
            max_pretoken_bytes: longer pre-tokens are dropped; one giant word stalls learning.
        """
        self._normalize = _normalize_with(normalizer)
        self._max_bytes = max_pretoken_bytes
        self._plan = plan_scan(pre_tokenizer)
        self._count = library_counter(pre_tokenizer)
        self._to_bytes = library_cutter(normalizer, pre_tokenizer).to_bytes
        self._table = empty_table()

    @property
    def path(self) -> Literal["scanner", "library"]:
        """Who cuts."""
        return "library" if self._plan is None else "scanner"

    @property
    def n_dropped(self) -> int:
        """Pre-tokens that were too long."""
        return int(self._table.n[N_DROPPED])

    @property
    def n_dropped_bytes(self) -> int:
        """Their bytes."""
        return int(self._table.n[N_DROPPED_BYTES])

    def add(self, texts: pa.StringArray | pa.LargeStringArray) -> None:
        """Count the pre-tokens of some texts; nulls hold none.

        Raises:
            BrokenTextError: a text is no UTF-8; nothing is counted then.
        """
        try:
            texts.validate(full=True)
        except pa.ArrowInvalid as error:
            raise BrokenTextError(
                f"Texts to count are not valid UTF-8 ({error}); decode the source again."
            ) from None
        texts = texts.drop_null()
        if self._normalize is not None:
            texts = pa.array(map(self._normalize, _each(texts)), pa.large_string())
        if self._plan is not None:
            self._scan(texts, self._plan)
            return
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            pieces = self._count(texts.slice(start, _TEXTS_AT_ONCE).to_pylist())
            pieces.pop("", None)  # an empty text where nothing cuts
            self._add_pieces(pieces)

    def result(self) -> PretokenCounts:
        """Give the counts so far."""
        return sorted_counts(self._table, self._table.entries[: self._table.n[N_ENTRIES], COUNT])

    def _scan(self, texts: pa.Array, plan: ScanPlan) -> None:
        data, offsets = bytes_and_offsets(texts)
        starts = np.empty(_PRETOKENS_AT_ONCE + 1, np.int64)
        rule = (plan.classes, plan.family, plan.max_digits, plan.apart)
        text, i = 0, offsets[0]
        while text < len(texts):
            n_cut, text, i = cut_texts(data, offsets, text, i, *rule, starts)
            self._table = count_all(self._table, data, starts[: n_cut + 1], self._max_bytes)

    def _add_pieces(self, pieces: dict[str, int]) -> None:
        all_bytes = pa.array(map(self._to_bytes, pieces), pa.large_binary())
        counts_P = np.fromiter(pieces.values(), np.int64, len(pieces))
        lengths_P = np.diff(bytes_and_offsets(all_bytes)[1])
        keep_P = lengths_P <= self._max_bytes
        self._table.n[N_DROPPED] += counts_P[~keep_P].sum()
        self._table.n[N_DROPPED_BYTES] += counts_P[~keep_P] @ lengths_P[~keep_P]
        kept = all_bytes.filter(pa.array(keep_P))
        self._table, entries_P = intern_all(self._table, *bytes_and_offsets(kept))
        np.add.at(self._table.entries[:, COUNT], entries_P, counts_P[keep_P])


def _normalize_with(normalizer: Json | None) -> Callable[[str], str] | None:
    kinds = [part["type"] for part in unfold(normalizer)]
    if not kinds:
        return None
    normalize: Callable[[str], str] = load_parts(normalizer, None)[0].normalize_str
    if not _KEEP_ASCII.issuperset(kinds):
        return normalize
    return lambda text: text if text.isascii() else normalize(text)


def _each(texts: pa.Array) -> Iterator[str]:
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        yield from texts.slice(start, _TEXTS_AT_ONCE).to_pylist()
