"""Tokens taken apart along the merges that made them.

BPE applies its merges by rank, so that what it makes of a text with its last merges switched off
is what it makes with all of them, with the tokens of those last merges taken apart again.

Dimensions: V = vocabulary, M = merges, N = ids of a text.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int32, Int64


@dataclass(frozen=True)
class MergeSplits:
    """The two parts of each merged token."""

    parts: Int64[np.ndarray, "V 2"]
    rank: Int64[np.ndarray, " V"]
    """Rank of the merge that makes the token, counted among all that are listed here; negative
    for a token that none makes."""

    @classmethod
    def of(
        cls,
        merges_M3: Int32[np.ndarray, "M 3"],
        splittable_V: Bool[np.ndarray, " V"],
    ) -> "MergeSplits":
        """List the merges of some tokens.

        Args:
            merges_M3: left, right and result id of each merge, by rank.
            splittable_V: tokens that may be taken apart.
        """
        merges = merges_M3[splittable_V[merges_M3[:, 2]]].astype(np.int64)
        results, first = np.unique(merges[:, 2], return_index=True)
        parts = np.full((len(splittable_V), 2), -1, np.int64)
        rank = np.full(len(splittable_V), -1, np.int64)
        parts[results] = merges[first, :2]
        # Where several merges make one token, only the first of them counts.
        rank[results[np.argsort(first)]] = np.arange(len(first))
        return cls(parts, rank)

    @property
    def n_merges(self) -> int:
        """Count the listed merges."""
        return int((self.rank >= 0).sum())

    def without_last(self, ids_N: Int64[np.ndarray, " N"], n_left: int) -> np.ndarray:
        """Take apart what the merges behind the first ``n_left`` made; at least ``len(ids_N)``."""
        while (late_N := self.rank[ids_N] >= n_left).any():
            whole_N2 = np.stack([ids_N, np.full(len(ids_N), -1)], axis=1)
            both = np.where(late_N[:, None], self.parts[ids_N], whole_N2).ravel()
            ids_N = both[both >= 0]
        return ids_N

    def into(self, token: int, n_pieces: int) -> list[int]:
        """Take a token apart, last merges first, until it is so many pieces, or as many as can."""
        pieces = [token]
        while len(pieces) < n_pieces:
            at = int(np.argmax(self.rank[pieces]))
            if self.rank[pieces[at]] < 0:
                break
            pieces[at : at + 1] = self.parts[pieces[at]].tolist()
        return pieces

    def into_all(self, tokens: Sequence[int], n_pieces: Sequence[int]) -> list[list[int]]:
        """Take many tokens apart."""
        return [self.into(token, n) for token, n in zip(tokens, n_pieces, strict=True)]
