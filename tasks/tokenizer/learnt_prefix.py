"""The begin of a run of the merge loop: the vocabulary as it was when it was smaller."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from tasks.tokenizer import merge_kernels as kernels
from tasks.tokenizer.merge_loop import Learnt

_CHANGES = {kernels.MADE_TOKEN: 1, kernels.RESTORED: 1, kernels.BECAME_SCAFFOLD: -1}


@dataclass(frozen=True)
class Prefix:
    """The first events of a run.

    Attributes:
        n_events: how many.
        n_merges: merges among them.
        n_tokens: tokens there are then, base tokens and scaffolds included.
        n_visible: those that are no scaffolds.
    """

    n_events: int
    n_merges: int
    n_tokens: int
    n_visible: int


class Prefixes:
    """All moments of a run at which it might have ended: after a merge with all its effects."""

    def __init__(self, learnt: Learnt) -> None:
        """Follow the events once.

        Args:
            learnt: the whole run.
        """
        kinds_E = learnt.events[:, 0]
        is_new_E = kinds_E == kernels.MADE_TOKEN
        is_merge_E = is_new_E | (kinds_E == kernels.MADE_ALTERNATIVE)
        changes_E = sum(
            (change * (kinds_E == kind) for kind, change in _CHANGES.items()),
            np.zeros(len(kinds_E), np.int64),
        )
        self.n_base = len(learnt.token_bytes) - int(np.sum(is_new_E))
        self._columns_E4 = np.column_stack(
            [np.arange(len(kinds_E) + 1), *map(_sums, (is_merge_E, is_new_E, changes_E))]
        ) + np.array([0, 0, self.n_base, self.n_base])
        # A merge's own effects are its scaffolds, and the return of the token that it makes anew.
        returns_E = (kinds_E == kernels.RESTORED) & np.append(
            False, kinds_E[:-1] == kernels.MADE_ALTERNATIVE
        )
        self._is_end_E1 = np.append(~(returns_E | (kinds_E == kernels.BECAME_SCAFFOLD)), True)

    def longest(self, n_visible: int) -> Prefix | None:
        """The longest with no more visible tokens; ``None`` if the base tokens are more."""
        fits_E1 = self._is_end_E1 & (self._columns_E4[:, 3] <= n_visible)
        if not np.any(fits_E1):
            return None
        return Prefix(*self._columns_E4[np.flatnonzero(fits_E1)[-1]].tolist())

    def shortest(self, n_visible: int) -> Prefix:
        """The first with so many visible tokens, where a run of that size would have ended.

        It is the whole run if there never were so many.
        """
        reached_E1 = self._is_end_E1 & (self._columns_E4[:, 3] >= n_visible)
        ends = np.append(np.flatnonzero(reached_E1), len(reached_E1) - 1)
        return Prefix(*self._columns_E4[ends[0]].tolist())


def scaffolds_after(learnt: Learnt, prefix: Prefix) -> set[int]:
    """The tokens that are scaffolds at the end of a prefix."""
    found = set[int]()
    for kind, token, _ in learnt.events[: prefix.n_events].tolist():
        if kind == kernels.BECAME_SCAFFOLD:
            found.add(token)
        elif kind == kernels.RESTORED:
            found.discard(token)
    return found


def _sums(values_E: np.ndarray) -> Int64[np.ndarray, " E1"]:
    """Sums of the first 0, 1, 2, ... values."""
    return np.append(0, np.cumsum(values_E, dtype=np.int64))
