"""Log prior of a new token given its first old piece; a rule of our own.

Where the source model would have said old piece p next, the new model has to choose among all
new tokens whose old segmentation starts with p. Giving each of them row H_p and the logit offset
log P(t | p) shares the probability of p among them: the offsets of one group sum to 1 after exp,
so nothing is gained or lost. P is the probability of new token t given that p is the first piece
of the old segmentation, counted in text cut by the NEW tokenizer; an old token kept in the new
vocabulary belongs to its own group, with P(p itself | p).

In a replaced vocabulary p itself need not be a new token: the group is still all new tokens that
start with p, and sums to 1 without it. An old piece that starts no new token loses its
probability to all others, which the softmax spreads.

Dimensions: W = new vocabulary.
"""

import numpy as np
from jaxtyping import Float64, Int32, Int64

from tasks.shared.errors import InputError


class CountsError(InputError):
    """The counts do not belong to this vocabulary."""


def counts_by_id(
    ids_N: Int64[np.ndarray, " N"], counts_N: Int64[np.ndarray, " N"], n_tokens: int
) -> Int64[np.ndarray, " W"]:
    """Order counts by token id.

    Raises:
        CountsError: they do not name every token exactly once.
    """
    if len(ids_N) != n_tokens or not np.array_equal(np.sort(ids_N), np.arange(n_tokens)):
        raise CountsError(
            f"there are counts of {len(ids_N)} ids up to {int(ids_N.max(initial=-1))}, but the "
            f"tokenizer has {n_tokens} tokens; make the token shards with this tokenizer."
        )
    counts_W = np.empty(n_tokens, np.int64)
    counts_W[ids_N] = counts_N
    return counts_W


def prefix_prior(
    first_piece_W: Int32[np.ndarray, " W"],
    counts_W: Int64[np.ndarray, " W"],
    seen_count: float,
    unseen_count: float,
) -> Float64[np.ndarray, " W"]:
    """Compute log P(t | first old piece of t) for each new token.

    Args:
        first_piece_W: old id each token starts with; -1 for a token outside all groups
            (special, padding, uncovered), whose offset is 0.
        counts_W: occurrences of each token in text cut by the new tokenizer.
        seen_count: added to the count of a token that occurs.
        unseen_count: count of a token that does not occur.

    Raises:
        CountsError: a count is negative.
    """
    if len(counts_W) and counts_W.min() < 0:
        raise CountsError(
            f"token {int(counts_W.argmin())} has count {int(counts_W.min())}; counts are never "
            "negative: make the token shards again."
        )
    grouped_W = first_piece_W >= 0
    mass_W = np.where(counts_W > 0, counts_W + seen_count, unseen_count)
    group_mass = np.bincount(first_piece_W[grouped_W], weights=mass_W[grouped_W])
    prior_W = np.zeros(len(first_piece_W))
    prior_W[grouped_W] = np.log(mass_W[grouped_W] / group_mass[first_piece_W[grouped_W]])
    return prior_W
