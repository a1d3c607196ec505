"""Merges that make terms whole, behind merges that are there.

A term is cut by all merges so far; its first two pieces become a pair to merge, until it is one
piece. Such merges rank last, so that no other token is cut otherwise than before. A token that is
added beside the model would be found anywhere, inside words and numbers too.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Int32


class Chains:
    """Merges and tokens, to which terms can be added."""

    def __init__(
        self, token_bytes: Sequence[bytes], hidden: Iterable[int], merges: Int32[np.ndarray, "M 3"]
    ) -> None:
        """Start from what was learnt.

        Args:
            token_bytes: by id; of equal ones the first stands.
            hidden: ids of scaffold tokens.
            merges: left, right and result id by rank. Of equal pairs the first counts.
        """
        self.token_bytes = list(token_bytes)
        self.hidden = set(hidden)
        self.new_merges: list[tuple[int, int, int]] = []
        rows = merges.tolist()[::-1]
        last = len(rows) - 1
        self._rules = {(a, b): (last - back, made) for back, (a, b, made) in enumerate(rows)}
        self._n_rules = len(rows)
        ids = range(len(self.token_bytes) - 1, -1, -1)
        self._id_of = {self.token_bytes[token]: token for token in ids}

    @property
    def n_visible(self) -> int:
        """Tokens that are no scaffolds."""
        return len(self.token_bytes) - len(self.hidden)

    def find(self, data: bytes) -> int | None:
        """The token with these bytes."""
        return self._id_of.get(data)

    def cut(self, ids: Sequence[int]) -> list[int]:
        """Merge ids, lowest rank first and of equal ones the leftmost."""
        pieces = list(ids)
        while True:
            found = [
                (rule[0], at, rule[1])
                for at, pair in enumerate(pairwise(pieces))
                if (rule := self._rules.get(pair)) is not None
            ]
            if not found:
                return pieces
            _, at, made = min(found)
            pieces[at : at + 2] = [made]

    def add(self, ids: Sequence[int], *, hide_steps: bool) -> None:
        """Make a term one visible token.

        Args:
            ids: the term in base tokens.
            hide_steps: whether tokens on the way to it become scaffolds.
        """
        pieces = self.cut(ids)
        while len(pieces) > 1:
            n_before = len(self.token_bytes)
            made = self.merge(pieces[0], pieces[1])
            if hide_steps and made == n_before:
                self.hidden.add(made)
            pieces = self.cut(pieces)
        self.hidden.discard(pieces[0])

    def merge(self, left: int, right: int) -> int:
        """Append a merge; returns its result, which is a new token unless its bytes have one."""
        data = self.token_bytes[left] + self.token_bytes[right]
        made = self._id_of.setdefault(data, len(self.token_bytes))
        if made == len(self.token_bytes):
            self.token_bytes.append(data)
        self.new_merges.append((left, right, made))
        self._rules[left, right] = (self._n_rules, made)
        self._n_rules += 1
        return made
