"""Old tokens taken apart as if they were unknown: examples whose rows are known.

Dimensions: V = old vocabulary, K = tokens that need rows, N = old tokens.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int32, Int64

from tasks.embedding.merge_regression import WITHOUT_MERGES
from tasks.embedding.merge_splits import MergeSplits
from tasks.embedding.pieces import Pieces
from tasks.shared.errors import InputError

HELD_OUT = 20
"""Every so-manieth old token of a seeded order measures the network."""


class NoOldMergesError(InputError):
    """The source tokenizer has too few merges for its tokens to be examples."""


@dataclass(frozen=True)
class OldTokens:
    """What can be taken apart, and into how many pieces."""

    splits: MergeSplits
    taught: Int64[np.ndarray, " T"]
    held_out: Int64[np.ndarray, " H"]
    n_pieces: Int64[np.ndarray, " K"]
    """Pieces of each token that needs a row; examples have numbers drawn from these."""

    @classmethod
    def of(
        cls,
        n_old: int,
        merges_M3: Int32[np.ndarray, "M 3"],
        needed: Pieces,
        rng: np.random.Generator,
    ) -> "OldTokens":
        """Choose the examples.

        Args:
            n_old: size of the old vocabulary.
            merges_M3: left, right and result id of each old merge, by rank.
            needed: old pieces of the tokens that need rows.
            rng: chooses what is held out.

        Raises:
            NoOldMergesError: there are too few merges.
        """
        splits = MergeSplits.of(merges_M3, np.ones(n_old, bool))
        order = rng.permutation(np.flatnonzero(splits.rank >= 0))
        if len(order) < HELD_OUT:
            raise NoOldMergesError(
                f"the source tokenizer has {len(order) or 'no'} merges, from which method "
                f"hypernetwork learns how rows are put together, and it takes {HELD_OUT} "
                f"{WITHOUT_MERGES}"
            )
        lengths_K = np.maximum(needed.lengths, 2)
        if not len(lengths_K):
            lengths_K = np.array([2])
        held, taught = order[::HELD_OUT], np.delete(order, np.s_[::HELD_OUT])
        return cls(splits, np.sort(taught), np.sort(held), lengths_K)

    def draw(self, n_tokens: int, rng: np.random.Generator) -> Int64[np.ndarray, " N"]:
        """Draw examples, each as likely as the other."""
        return rng.choice(self.taught, n_tokens)

    def hide(
        self, ids_N: Int64[np.ndarray, " N"], share: float, rng: np.random.Generator
    ) -> Bool[np.ndarray, " N"]:
        """Choose among old ids (negative for none) a share of those that are examples."""
        drawn_N = rng.random(len(ids_N)) < share
        return drawn_N & np.isin(ids_N, self.taught)

    def cut(self, ids_N: Int64[np.ndarray, " N"], rng: np.random.Generator) -> Pieces:
        """Take old tokens apart into as many pieces as new tokens have."""
        n_pieces_N = rng.choice(self.n_pieces, len(ids_N))
        return Pieces.from_lists(self.splits.into_all(ids_N.tolist(), n_pieces_N.tolist()))
