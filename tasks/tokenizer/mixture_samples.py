"""Samples of text in which a list of merges is replayed: each by itself, and all mixed to one.

Dimensions: N = categories, T = merges, C = pairs asked for or found, each at some merge.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int64

from tasks.tokenizer.merge_kernels import State, count_pairs
from tasks.tokenizer.merge_loop import Words, start_state
from tasks.tokenizer.mixture_kernels import counts_along, pairs_above

_MILLION = 1e6
_UNITS = float(1 << 60)
"""What all bytes of the mixed text weigh together, so that whole numbers are fine enough for it."""


class Samples:
    """Counts pairs while merges are replayed. All frequencies are per million bytes of a sample."""

    def __init__(
        self, words_N: Sequence[Words], tokens: Sequence[bytes], merges_T: Int64[np.ndarray, " T"]
    ) -> None:
        """Take samples.

        Args:
            words_N: none of them empty.
            tokens: bytes by id, of the words' tokens and of all that the merges make.
            merges_T: pairs in the order of merging, ``left << 32 | right``.
        """
        self.merges_T = merges_T
        self._words_N = words_N
        self._tokens = tokens
        lengths_V = np.array([len(token) for token in tokens])
        self._bytes_N = np.array(
            [
                np.repeat(words.counts, np.diff(words.starts)) @ lengths_V[words.symbols]
                for words in words_N
            ],
            np.float64,
        )
        offsets_N1 = np.cumsum([0, *(len(words.symbols) for words in words_N)])
        starts = [words.starts[:-1] + at for words, at in zip(words_N, offsets_N1, strict=False)]
        self._all_symbols = np.concatenate([words.symbols for words in words_N])
        self._all_starts = np.concatenate([*starts, offsets_N1[-1:]])

    def frequencies(
        self, steps: Int64[np.ndarray, " C"], keys: Int64[np.ndarray, " C"]
    ) -> Float64[np.ndarray, "C N"]:
        """Tell how frequent pairs are in each sample.

        Args:
            steps: before which merge, in ascending order.
            keys: which pair.
        """
        starts_T1 = np.searchsorted(steps, np.arange(len(self.merges_T) + 1))
        counts_NC = [
            counts_along(self._state(words), self.merges_T, keys, starts_T1)
            for words in self._words_N
        ]
        return np.stack(counts_NC, 1) / self._bytes_N * _MILLION

    def pairs_above(
        self,
        shares_N: Float64[np.ndarray, " N"],
        bound_T: Float64[np.ndarray, " T"],
        most: int,
    ) -> tuple[Int64[np.ndarray, " C"], Int64[np.ndarray, " C"], Float64[np.ndarray, " C"]]:
        """Find the pairs that are frequent in the samples mixed.

        Args:
            shares_N: of each sample in the mixed text's bytes.
            bound_T: before each merge, pairs above this frequency are wanted.
            most: so many before one merge; the rarest are left out.

        Returns:
            Steps in ascending order, keys, and frequencies, descending within a step.
        """
        weights_N = shares_N / self._bytes_N * _UNITS
        weighted = [
            weight * words.counts for weight, words in zip(weights_N, self._words_N, strict=True)
        ]
        counts_W = np.rint(np.concatenate(weighted)).astype(np.int64)
        keys, counts_C, listed_T = pairs_above(
            self._state(Words(self._all_symbols, self._all_starts, counts_W)),
            self.merges_T,
            (bound_T / _MILLION * _UNITS).astype(np.int64),
            most,
        )
        return np.repeat(np.arange(len(listed_T)), listed_T), keys, counts_C / _UNITS * _MILLION

    def _state(self, words: Words) -> State:
        return count_pairs(start_state(words, self._tokens))
