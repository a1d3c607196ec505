"""Old pieces of every new token, as flat arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from jaxtyping import Bool, Int32, Int64


@dataclass(frozen=True)
class Pieces:
    """Ragged table: token t is cut into ``ids[offsets[t]:offsets[t + 1]]``.

    Dimensions: W = tokens, O = W + 1, P = all pieces of all tokens.
    """

    ids: Int32[np.ndarray, " P"]
    offsets: Int64[np.ndarray, " O"]

    @classmethod
    def from_lists(cls, pieces: Sequence[Sequence[int]]) -> "Pieces":
        """Flatten one list of old ids a token; a list may be empty."""
        offsets = np.zeros(len(pieces) + 1, dtype=np.int64)
        np.cumsum([len(p) for p in pieces], out=offsets[1:])
        ids = np.fromiter(chain.from_iterable(pieces), dtype=np.int32, count=int(offsets[-1]))
        return cls(ids, offsets)

    @classmethod
    def joined(cls, tables: Sequence["Pieces"]) -> "Pieces":
        """One table behind the other."""
        lengths = np.concatenate([np.zeros(0, np.int64), *(table.lengths for table in tables)])
        ids = np.concatenate([np.zeros(0, np.int32), *(table.ids for table in tables)])
        return cls(ids, np.append(0, np.cumsum(lengths)))

    def __len__(self) -> int:
        """Count the tokens."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Int64[np.ndarray, " W"]:
        """Pieces of each token."""
        return np.diff(self.offsets)

    def first(self) -> Int32[np.ndarray, " W"]:
        """First piece of each token, -1 where it has none."""
        padded = np.append(self.ids, np.int32(-1))
        return np.where(self.lengths > 0, padded[self.offsets[:-1]], np.int32(-1))

    def select(self, keep_W: Bool[np.ndarray, " W"]) -> "Pieces":
        """Keep only some tokens, in the same order."""
        lengths_W = self.lengths
        offsets = np.zeros(int(keep_W.sum()) + 1, dtype=np.int64)
        np.cumsum(lengths_W[keep_W], out=offsets[1:])
        return Pieces(self.ids[np.repeat(keep_W, lengths_W)], offsets)

    def of(self, token: int) -> list[int]:
        """List the old ids of one token."""
        return self.ids[self.offsets[token] : self.offsets[token + 1]].tolist()

    def lists(self) -> list[list[int]]:
        """List the old ids of every token."""
        return [self.of(token) for token in range(len(self))]
