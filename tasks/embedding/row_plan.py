"""What each new token is to the source model: the same token, some of its pieces, or nothing.

Dimensions: W = new vocabulary, K = tokens that need rows.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int32, Int64

from tasks.embedding.pieces import Pieces
from tasks.shared.vocabulary import NO_MATCH, UncoverableTokenError, Vocabulary, match_ids

Kind = Literal[
    "copied",
    "special_role",
    "special_text",
    "tool_text",
    "reserved",
    "new",
    "uncovered",
    "unassigned",
]
SegmentAll = Callable[[Sequence[bytes]], list[list[int]]]


@dataclass(frozen=True)
class RowPlan:
    """Old ids behind each new token."""

    match: Int32[np.ndarray, " W"]
    """Old id of the same token, -1 where the source has none."""
    pieces: Pieces
    """The match alone, else the old segmentation; empty for what the source cannot spell."""
    kinds: tuple[Kind, ...]
    """``uncovered``: a token without pieces. ``unassigned``: an id that no token uses.
    ``tool_text``: its pieces spell what a tool is for. ``reserved``: a name without a meaning."""

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
    tool_texts: Mapping[int, bytes] | None = None,
    reserved: Collection[int] = (),
) -> RowPlan:
    """Match what can be matched and cut the rest into old pieces.

    Args:
        source: vocabulary of the model whose rows exist.
        target: vocabulary that needs rows.
        segment_all: cuts byte strings into ids of ``source``.
        special_tokens: old special token by new special token, before role and text.
        tool_texts: what tools are for, by the ids of their tokens; a tool token that the source
            has too is that one.
        reserved: new ids without a meaning; of the source's tokens they are only those that
            ``special_tokens`` names.
    """
    tool_texts = tool_texts or {}
    match_W = match_ids(source, target, special_tokens)
    unnamed = [i for i in reserved if target.token_text[i] not in special_tokens]
    match_W[unnamed] = NO_MATCH
    texts = {i: b for i, b in enumerate(target.token_bytes) if b is not None} | dict(tool_texts)
    new_ids = [i for i in texts if match_W[i] < 0]
    cut = _segment(segment_all, [texts[i] for i in new_ids])
    pieces = [[old] if old >= 0 else [] for old in match_W.tolist()]
    for token, ids in zip(new_ids, cut, strict=True):
        pieces[token] = ids
    kinds: list[Kind] = [
        _kind(source, target, token, old, pieces[token])
        for token, old in enumerate(match_W.tolist())
    ]
    for token in unnamed:
        kinds[token] = "reserved"
    for token in tool_texts:
        if match_W[token] < 0 and pieces[token]:
            kinds[token] = "tool_text"
    return RowPlan(match_W, Pieces.from_lists(pieces), tuple(kinds))


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
