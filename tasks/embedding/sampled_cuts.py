"""Text as tokenizers between the old and the new one would cut it.

A sampled tokenizer is the new one with its last merges switched off, down to some share of them.
(ZeTT trains on Unigram tokenizers of noisy counts; these here are nearer to the tokenizer that
is wanted, and cost nothing.)

Dimensions: V = old vocabulary, W = new vocabulary, M = merges.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32, Int64

from tasks.embedding.merge_splits import MergeSplits
from tasks.embedding.two_cuts import PairedWindow, shared_ends


@dataclass(frozen=True)
class SampledCuts:
    """What it takes to cut windows again."""

    splits: MergeSplits
    """Of the new tokenizer's merges, those that make tokens the old one lacks."""
    old_lengths: Int64[np.ndarray, " V"]
    new_lengths: Int64[np.ndarray, " W"]
    min_merge_share: float

    @classmethod
    def of(
        cls,
        merges_M3: Int32[np.ndarray, "M 3"],
        match_W: Int32[np.ndarray, " W"],
        old_lengths_V: Int64[np.ndarray, " V"],
        new_lengths_W: Int64[np.ndarray, " W"],
        min_merge_share: float,
    ) -> "SampledCuts":
        """Find the merges that can be switched off.

        Args:
            merges_M3: left, right and result id of each merge of the new tokenizer, by rank.
            match_W: old id of each new token, negative where the old vocabulary lacks it.
            old_lengths_V: bytes of each old token.
            new_lengths_W: bytes of each new token.
            min_merge_share: least share of them that stays on.
        """
        splits = MergeSplits.of(merges_M3, match_W < 0)
        return cls(splits, old_lengths_V, new_lengths_W, min_merge_share)

    def draw(self, windows: Sequence[PairedWindow], rng: np.random.Generator) -> list[PairedWindow]:
        """Cut windows by one tokenizer drawn at random, each number of merges as likely."""
        most = self.splits.n_merges
        least = round(self.min_merge_share * most)
        return self.cut(windows, int(rng.integers(least, most + 1)))

    def cut(self, windows: Sequence[PairedWindow], n_merges: int) -> list[PairedWindow]:
        """Cut windows by the tokenizer with so many of the new merges."""
        return [self._cut(window, n_merges) for window in windows]

    def _cut(self, window: PairedWindow, n_merges: int) -> PairedWindow:
        prefix, text_M = window.new[:1], window.new[1:]
        cut_M = self.splits.without_last(text_M, n_merges)
        if len(cut_M) == len(text_M):
            return window
        ends = shared_ends(self.old_lengths[window.old[1:]], self.new_lengths[cut_M])
        # Where a tokenizer's parts do not spell their whole, its tokens stay in one piece.
        return window if ends is None else PairedWindow(window.old, np.append(prefix, cut_M), *ends)
