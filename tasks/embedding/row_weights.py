"""Rows of new tokens as sparse sums of old rows.

Dimensions: V = old vocabulary, K = tokens that need rows, D = model width, P = all weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64
from scipy.sparse import csr_array

from tasks.embedding.pieces import Pieces


@dataclass(frozen=True)
class RowWeights:
    """Token k is the sum of ``weights[p]`` times old row ``ids[p]``, p from its offset to the next.

    A token with no weights is one that the method has nothing for.
    """

    ids: Int32[np.ndarray, " P"]
    weights: Float32[np.ndarray, " P"]
    offsets: Int64[np.ndarray, " O"]

    @classmethod
    def from_lists(
        cls, ids: Sequence[Sequence[int]], weights: Sequence[Sequence[float]]
    ) -> "RowWeights":
        """Flatten one list of old ids and one of weights a token."""
        pieces = Pieces.from_lists(ids)
        flat = [weight for row in weights for weight in row]
        return cls(pieces.ids, np.array(flat, np.float32), pieces.offsets)

    @classmethod
    def from_table(
        cls, ids_KN: Int32[np.ndarray, "K N"], weights_KN: Float32[np.ndarray, "K N"]
    ) -> "RowWeights":
        """Keep the entries of a table whose weight is not zero, a row a token."""
        kept_KN = weights_KN != 0
        offsets = np.append(0, np.cumsum(kept_KN.sum(axis=1))).astype(np.int64)
        return cls(ids_KN[kept_KN], weights_KN[kept_KN], offsets)

    def __len__(self) -> int:
        """Count the tokens."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Int64[np.ndarray, " K"]:
        """Old rows behind each token."""
        return np.diff(self.offsets)

    @property
    def found(self) -> Bool[np.ndarray, " K"]:
        """Whether the method has something for each token."""
        return self.lengths > 0

    def take(self, at_K: Int64[np.ndarray, " L"]) -> "RowWeights":
        """Take the weights of some tokens, in the order given."""
        lengths = self.lengths[at_K]
        offsets = np.append(0, np.cumsum(lengths))
        from_P = np.repeat(self.offsets[at_K] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return RowWeights(self.ids[from_P], self.weights[from_P], offsets)

    def of(self, token: int) -> tuple[list[int], list[float]]:
        """List the old ids of one token and their weights."""
        part = slice(self.offsets[token], self.offsets[token + 1])
        return self.ids[part].tolist(), self.weights[part].tolist()

    def rows(self, source_VD: Float32[np.ndarray, "V D"]) -> Float32[np.ndarray, "K D"]:
        """Sum up in float32; zero rows where nothing was found.

        Args:
            source_VD: old rows (a head bias is a matrix of one column).
        """
        shape = (len(self), len(source_VD))
        made_KD = csr_array((self.weights, self.ids, self.offsets), shape=shape) @ source_VD
        # 0 + x loses the sign of a negative zero, so an old row by itself is copied, not summed.
        at = self.offsets[:-1][self.found]
        alone = (self.lengths[self.found] == 1) & (self.weights[at] == 1)
        made_KD[np.flatnonzero(self.found)[alone]] = source_VD[self.ids[at[alone]]]
        return made_KD


def spread(
    n_tokens: int, parts: Sequence[tuple[Int64[np.ndarray, " _"], RowWeights]]
) -> RowWeights:
    """Put weights of disjoint sets of tokens into one table; the other tokens have none.

    Args:
        n_tokens: size of the table.
        parts: where tokens go, and their weights.
    """
    lengths_W = np.zeros(n_tokens, np.int64)
    for at, part in parts:
        lengths_W[at] = part.lengths
    offsets = np.append(0, np.cumsum(lengths_W))
    ids_P = np.empty(offsets[-1], np.int32)
    weights_P = np.empty(offsets[-1], np.float32)
    for at, part in parts:
        to_P = np.repeat(offsets[at] - part.offsets[:-1], part.lengths) + np.arange(len(part.ids))
        ids_P[to_P], weights_P[to_P] = part.ids, part.weights
    return RowWeights(ids_P, weights_P, offsets)
