"""Which tokens stand in which training sequence, as a function of the sample's number.

Documents are shuffled by (seed, epoch) and laid end to end, each behind the document separator;
epoch follows epoch without a gap. Sample k reads S + 1 tokens of that stream from k * S: S inputs,
and the same moved on by one as targets, so that every token of a document is a target exactly
once, whichever way the document is cut. The shuffle knows documents by their number alone, hence
the first N bytes of the order are the same text under every tokenizer.

Dimensions: N = documents, T = tokens of all documents, B = samples, S = tokens a sample.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Int64, Integer

IGNORED = -100
"""Target of a position that is not scored; the value torch's cross-entropy skips."""


@dataclass(frozen=True)
class Documents:
    """All documents of a corpus under one tokenizer, in corpus order.

    Attributes:
        ids: tokens of all documents, end to end.
        starts: where each document starts in ``ids``, and a last entry T.
        n_bytes: bytes of text each token stands for; a document's sum is its length in bytes.
    """

    ids: Integer[np.ndarray, " T"]
    starts: Int64[np.ndarray, " N1"]
    n_bytes: Integer[np.ndarray, " T"]


@dataclass(frozen=True)
class Batch:
    """Packed samples, ready for the loss."""

    input_ids: Int64[np.ndarray, "B S"]
    targets: Int64[np.ndarray, "B S"]
    position_ids: Int64[np.ndarray, "B S"]


@dataclass(frozen=True)
class _Epoch:
    """One shuffle: document numbers in order, and running sums over the stream."""

    order: Int64[np.ndarray, " N"]
    starts: Int64[np.ndarray, " N1"]
    bytes: Int64[np.ndarray, " N1"]


class PackedCorpus:
    """Training samples of a corpus by number; holds nothing that depends on the worker."""

    def __init__(
        self,
        documents: Documents,
        *,
        sequence_length: int,
        separator: int,
        seed: int,
        isolate_documents: bool,
    ) -> None:
        self.sequence_length = sequence_length
        self._documents = documents
        self._separator = separator
        self._seed = seed
        self._isolate = isolate_documents
        # Bytes of text before each token, so that any span's bytes are one subtraction.
        self._bytes_before_T1 = np.concatenate(([0], np.cumsum(documents.n_bytes, dtype=np.int64)))
        self._lengths_N = np.diff(documents.starts) + 1
        self.tokens_per_epoch = int(self._lengths_N.sum())
        self._epoch = lru_cache(maxsize=2)(self._shuffle)

    def batch(self, first: int, count: int) -> Batch:
        """Samples ``first`` to ``first + count``."""
        length = self.sequence_length
        sample_B1 = np.arange(first, first + count, dtype=np.int64)[:, None]
        place_BS1 = sample_B1 * length + np.arange(length + 1, dtype=np.int64)
        token_BS1, depth_BS1 = self._read(place_BS1)
        target_BS = np.where(depth_BS1[:, 1:] > 0, token_BS1[:, 1:], IGNORED)
        position_BS = np.broadcast_to(np.arange(length, dtype=np.int64), target_BS.shape)
        if self._isolate:
            position_BS = np.minimum(position_BS, depth_BS1[:, :-1])
        return Batch(token_BS1[:, :-1].copy(), target_BS, position_BS.copy())

    def n_bytes(self, first: int, count: int) -> int:
        """Bytes of text that are targets in these samples."""
        return self._scored(first + count)[0] - self._scored(first)[0]

    def n_targets(self, first: int, count: int) -> int:
        """Tokens that are targets in these samples."""
        return self._scored(first + count)[1] - self._scored(first)[1]

    def _shuffle(self, epoch: int) -> _Epoch:
        order_N = np.random.default_rng([self._seed, epoch]).permutation(len(self._lengths_N))
        starts_N1 = np.concatenate(([0], np.cumsum(self._lengths_N[order_N])))
        n_bytes_N = np.diff(self._bytes_before_T1[self._documents.starts])
        return _Epoch(order_N, starts_N1, np.concatenate(([0], np.cumsum(n_bytes_N[order_N]))))

    def _read(
        self, place_BS1: Int64[np.ndarray, "B S1"]
    ) -> tuple[Int64[np.ndarray, "B S1"], Int64[np.ndarray, "B S1"]]:
        """Tokens at places of the stream, and how deep in its document each one stands."""
        token_BS1 = np.empty_like(place_BS1)
        depth_BS1 = np.empty_like(place_BS1)
        number_BS1, offset_BS1 = np.divmod(place_BS1, self.tokens_per_epoch)
        for number in np.unique(number_BS1):
            epoch = self._epoch(int(number))
            here = number_BS1 == number
            rank = np.searchsorted(epoch.starts, offset_BS1[here], side="right") - 1
            depth = offset_BS1[here] - epoch.starts[rank]
            start = self._documents.starts[epoch.order[rank]]
            text = self._documents.ids[start + np.maximum(depth, 1) - 1]
            token_BS1[here] = np.where(depth > 0, text, self._separator)
            depth_BS1[here] = depth
        return token_BS1, depth_BS1

    def _scored(self, samples: int) -> tuple[int, int]:
        """Bytes and tokens that are targets in the first so many samples."""
        place = samples * self.sequence_length + 1
        number, offset = divmod(place, self.tokens_per_epoch)
        epoch = self._epoch(number)
        rank = int(np.searchsorted(epoch.starts, offset, side="right")) - 1
        depth = offset - int(epoch.starts[rank])
        n_bytes = number * int(epoch.bytes[-1]) + int(epoch.bytes[rank])
        if depth > 1:
            start = int(self._documents.starts[epoch.order[rank]])
            end = start + depth - 1
            n_bytes += int(self._bytes_before_T1[end] - self._bytes_before_T1[start])
        n_separators = number * len(epoch.order) + rank + (depth > 0)
        return n_bytes, place - n_separators
