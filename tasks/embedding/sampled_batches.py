"""Text for a network that makes rows: which tokens are in it, and of which pieces each is made.

Dimensions: W = new vocabulary, U = distinct tokens of a batch and others to tell them from,
B = windows, L = new tokens of a window, Q = tokens whose rows are made.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int32, Int64

from tasks.embedding.old_tokens import OldTokens
from tasks.embedding.paired_batches import Batch, batch_of, draw_windows
from tasks.embedding.pieces import Pieces
from tasks.embedding.sampled_cuts import SampledCuts
from tasks.embedding.two_cuts import PairedWindow
from tasks.shared.errors import InputError


class NothingToLearnError(InputError):
    """No window of text holds a new token."""


@dataclass(frozen=True)
class SampledBatch:
    """Windows of a step under a sampled tokenizer."""

    text: Batch
    slots: Int64[np.ndarray, "B L"]
    """Where in ``tokens`` each new token of the text is; 0 for padding."""
    tokens: Int64[np.ndarray, " U"]
    """New ids, the text's own first."""
    n_of_text: int
    old: Int64[np.ndarray, " U"]
    """Old id of each, negative where its rows are made."""
    pieces: Pieces
    """Old pieces of those whose rows are made, in the order of ``tokens``."""
    hidden: Int64[np.ndarray, " Q"]
    """Old id of each of these that has one and was hidden, negative for new tokens."""


@dataclass(frozen=True)
class Sampler:
    """What batches are drawn from."""

    cuts: SampledCuts
    old_tokens: OldTokens
    match: Int32[np.ndarray, " W"]
    pieces: Pieces
    """Old pieces of every new token."""
    hidden_share: float
    n_negatives: int
    """New tokens that are drawn beside those of the text."""

    def batches(
        self, windows: Sequence[PairedWindow], n_windows: int, n_batches: int, seed: int
    ) -> Iterator[SampledBatch]:
        """Draw batches.

        Args:
            windows: text under both tokenizers; those that hold no new token, or one that the
                old tokenizer cannot spell, are passed over.
            n_windows: of a batch.
            n_batches: how many to draw.
            seed: chooses windows, tokenizers and hidden tokens.

        Raises:
            NothingToLearnError: no window is left.
        """
        usable_W = self.pieces.lengths > 0
        left = [
            window
            for window in windows
            if usable_W[window.new].all() and (self.match[window.new] < 0).any()
        ]
        if not left:
            raise NothingToLearnError(
                f"none of {len(windows)} windows of text holds a new token that the old tokenizer "
                "can spell; give text that the new tokenizer was trained for, or more of it."
            )
        return self._batches(left, n_windows, n_batches, seed)

    def _batches(
        self, windows: Sequence[PairedWindow], n_windows: int, n_batches: int, seed: int
    ) -> Iterator[SampledBatch]:
        rng = np.random.default_rng([seed, 1])
        negatives = np.flatnonzero(self.pieces.lengths > 0)
        for drawn in draw_windows(windows, n_windows, n_batches, seed):
            text = batch_of(self.cuts.draw(drawn, rng))
            own, slots = np.unique(text.new[text.is_text], return_inverse=True)
            slots_BL = np.zeros(text.new.shape, np.int64)
            slots_BL[text.is_text] = slots
            others = rng.choice(negatives, min(self.n_negatives, len(negatives)), replace=False)
            tokens = np.append(own, np.setdiff1d(others, own))
            old = self.match[tokens].astype(np.int64)
            hidden = self.old_tokens.hide(old[: len(own)], self.hidden_share, rng)
            yield self._of(text, slots_BL, tokens, old, hidden, rng)

    def _of(
        self,
        text: Batch,
        slots_BL: Int64[np.ndarray, "B L"],
        tokens_U: Int64[np.ndarray, " U"],
        old_U: Int64[np.ndarray, " U"],
        hidden_T: Bool[np.ndarray, " T"],
        rng: np.random.Generator,
    ) -> SampledBatch:
        """Look up pieces of new tokens and take hidden old ones apart."""
        is_hidden_U = np.zeros(len(tokens_U), bool)
        is_hidden_U[: len(hidden_T)] = hidden_T
        made_U = is_hidden_U | (old_U < 0)
        taken_apart = iter(self.old_tokens.cut(old_U[is_hidden_U], rng).lists())
        pieces = [
            next(taken_apart) if hidden else self.pieces.of(token)
            for token, hidden in zip(
                tokens_U[made_U].tolist(), is_hidden_U[made_U].tolist(), strict=True
            )
        ]
        return SampledBatch(
            text,
            slots_BL,
            tokens_U,
            len(hidden_T),
            np.where(made_U, -1, old_U),
            Pieces.from_lists(pieces),
            np.where(is_hidden_U, old_U, -1)[made_U],
        )
