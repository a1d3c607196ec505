"""Rows as the mean of two parts, down the new tokenizer's merges to old tokens.

A token merged of l and r is half the row of l and half the row of r; a part the old vocabulary
lacks is composed in the same way. Pieces near the root weigh more than in the mean of pieces.
Source: "Merge" of Yamaguchi et al., "How Can We Effectively Expand the Vocabulary of LLMs with
0.01GB of Target Language Text?" (2024), with the same weights for the head.

Dimensions: V = old vocabulary, W = new vocabulary, N = compositions.
"""

import numpy as np
from jaxtyping import Int32
from scipy.sparse import csr_array, vstack

from tasks.embedding.merge_plan import plan_merges
from tasks.embedding.row_weights import RowWeights, spread
from tasks.shared.errors import InputError


class NoNewMergesError(InputError):
    """The new tokenizer has no merges to follow."""


def merge_tree_weights(
    n_source: int, match_W: Int32[np.ndarray, " W"], merges_M3: Int32[np.ndarray, "M 3"]
) -> RowWeights:
    """Weigh old rows for every new token; one that no merge reaches has no weights.

    Args:
        n_source: number of old rows.
        match_W: old id of each new token, -1 where the old vocabulary lacks it.
        merges_M3: left, right and result id of each merge of the new tokenizer, by rank.

    Raises:
        NoNewMergesError: there are no merges.
    """
    if not len(merges_M3):
        raise NoNewMergesError(
            "the new tokenizer has no merges, which method merge_tree follows (only BPE has "
            "them): use initialiser method mean_of_pieces."
        )
    plan = plan_merges(n_source, match_W, merges_M3)
    # Row n of ``made`` holds what node n is made of. Nodes of one depth are added at once, so
    # rows stand in the order of their depth and ``row_of`` says where a node is.
    ones = np.ones(n_source, np.float32)
    made = csr_array((ones, np.arange(n_source), np.arange(n_source + 1)))
    row_of = np.arange(n_source + len(plan.depth))
    for depth in range(1, int(plan.depth.max(initial=0)) + 1):
        at = np.flatnonzero(plan.depth == depth)
        halves = 0.5 * (made[row_of[plan.left[at]]] + made[row_of[plan.right[at]]])
        row_of[n_source + at] = len(made.indptr) - 1 + np.arange(len(at))
        made = csr_array(vstack([made, halves]))
    reached = np.flatnonzero(plan.node_of >= 0)
    chosen = csr_array(made[row_of[plan.node_of[reached]]])
    chosen.sort_indices()
    weights = RowWeights(
        chosen.indices.astype(np.int32),
        chosen.data.astype(np.float32),
        chosen.indptr.astype(np.int64),
    )
    return spread(len(match_W), [(reached, weights)])
