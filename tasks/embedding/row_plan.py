"""What each new token is to the source model: the same token, some of its pieces, or nothing.

Dimensions: W = new vocabulary, K = tokens that need rows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int32, Int64

from tasks.embedding.pieces import Pieces
from tasks.shared.vocabulary import UncoverableTokenError, Vocabulary, match_ids

Kind = Literal["copied", "special_role", "special_text", "new", "uncovered", "unassigned"]
SegmentAll = Callable[[Sequence[bytes]], list[list[int]]]


@dataclass(frozen=True)
class RowPlan:
    """Old ids behind each new token."""

    match: Int32[np.ndarray, " W"]
    """Old id of the same token, -1 where the source has none."""
    pieces: Pieces
    """The match alone, else the old segmentation; empty for what the source cannot spell."""
    kinds: tuple[Kind, ...]
    """``uncovered``: a token without pieces. ``unassigned``: an id that no token uses."""

    def are(self, *kinds: Kind) -> Bool[np.ndarray, " W"]:
        """Mark the tokens of some kinds."""
        return np.array([kind in kinds for kind in self.kinds], dtype=bool)

    @property
    def needed(self) -> Int64[np.ndarray, " K"]:
        """New ids of the tokens that an initialiser is asked for, ascending."""
        return np.flatnonzero(self.are("new", "uncovered"))

    @property
    def needed_pieces(self) -> Pieces:
        """Old pieces of those tokens."""
        return self.pieces.select(self.are("new", "uncovered"))


def plan_rows(
    source: Vocabulary,
    target: Vocabulary,
    segment_all: SegmentAll,
    special_tokens: Mapping[str, str],
) -> RowPlan:
    """Match what can be matched and cut the rest into old pieces.

    Args:
        source: vocabulary of the model whose rows exist.
        target: vocabulary that needs rows.
        segment_all: cuts byte strings into ids of ``source``.
        special_tokens: old special token by new special token, before role and text.
    """
    match_W = match_ids(source, target, special_tokens)
    new_ids = [i for i, b in enumerate(target.token_bytes) if b is not None and match_W[i] < 0]
    cut = _segment(segment_all, [target.token_bytes[i] or b"" for i in new_ids])
    pieces = [[old] if old >= 0 else [] for old in match_W.tolist()]
    for token, ids in zip(new_ids, cut, strict=True):
        pieces[token] = ids
    kinds: tuple[Kind, ...] = tuple(
        _kind(source, target, token, old, pieces[token])
        for token, old in enumerate(match_W.tolist())
    )
    return RowPlan(match_W, Pieces.from_lists(pieces), kinds)


def _segment(segment_all: SegmentAll, tokens: list[bytes]) -> list[list[int]]:
    """Cut all at once; one by one only where some token cannot be cut, to find out which."""
    try:
        return segment_all(tokens)
    except UncoverableTokenError:
        pass
    cut: list[list[int]] = []
    for token in tokens:
        try:
            cut += segment_all([token])
        except UncoverableTokenError:
            cut.append([])
    return cut


def _kind(source: Vocabulary, target: Vocabulary, token: int, old: int, pieces: list[int]) -> Kind:
    if target.token_bytes[token] is not None:
        return "copied" if old >= 0 else "new" if pieces else "uncovered"
    texts = [text for text, i in target.special_ids.items() if i == token]
    if not texts:
        return "unassigned"
    if old < 0:
        return "uncovered"
    same_text = any(source.special_ids.get(text) == old for text in texts)
    return "special_text" if same_text else "special_role"
