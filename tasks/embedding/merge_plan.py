"""In which order new tokens are composed, and of what.

Nodes are numbered: 0 .. V-1 are old rows, V + i is composition i. A new token is composed along
the NEW tokenizer's merges, whose leaves are tokens that the old vocabulary has too. A token that
no merge reaches that way (a vocabulary without merges, or a leaf the source lacks) can be
composed of its old pieces from left to right instead.

Dimensions: W = new vocabulary, M = new merges, N = compositions.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int32

from tasks.embedding.pieces import Pieces


@dataclass(frozen=True)
class MergePlan:
    """Compositions, each after its parts."""

    left: Int32[np.ndarray, " N"]
    right: Int32[np.ndarray, " N"]
    depth: Int32[np.ndarray, " N"]
    """1 for two old rows, else one more than the deeper part."""
    node_of: Int32[np.ndarray, " W"]
    """Node that holds each new token; -1 where there is none."""
    of_pieces: Bool[np.ndarray, " W"]
    """Tokens composed of their pieces from left to right, since no merges lead to them."""


def plan_merges(
    n_source: int,
    match_W: Int32[np.ndarray, " W"],
    merges_M3: Int32[np.ndarray, "M 3"],
    pieces: Pieces | None = None,
) -> MergePlan:
    """Order the compositions that build all tokens the old vocabulary lacks.

    Args:
        n_source: number of old rows.
        match_W: old id of each new token, -1 where the old vocabulary lacks it.
        merges_M3: left, right and result id of each merge of the new tokenizer, by rank.
        pieces: old ids of each new token, to compose those that no merge reaches; without them
            such tokens have no node.
    """
    pairs: dict[tuple[int, int], int] = {}
    depths: list[int] = []
    node_of: list[int] = match_W.tolist()

    def node(left: int, right: int) -> int:
        """Number of the composition of two nodes, made when first asked for."""
        if (left, right) not in pairs:
            pairs[left, right] = n_source + len(depths)
            depths.append(
                1 + max(0 if x < n_source else depths[x - n_source] for x in (left, right))
            )
        return pairs[left, right]

    for left, right, result in merges_M3.tolist():
        if node_of[result] < 0 and node_of[left] >= 0 and node_of[right] >= 0:
            node_of[result] = node(node_of[left], node_of[right])
    of_pieces_W = np.zeros(len(node_of), bool)
    if pieces is not None:
        of_pieces_W = (np.array(node_of) < 0) & (pieces.lengths > 0)
        for token in np.flatnonzero(of_pieces_W).tolist():
            first, *rest = pieces.of(token)
            for piece in rest:
                first = node(first, piece)
            node_of[token] = first
    sides = np.array(list(pairs), dtype=np.int32).reshape(-1, 2)
    return MergePlan(
        np.ascontiguousarray(sides[:, 0]),
        np.ascontiguousarray(sides[:, 1]),
        np.array(depths, dtype=np.int32),
        np.array(node_of, dtype=np.int32),
        of_pieces_W,
    )
