"""Give each of many tokens a choice of its own, the closest pair first.

The result is that of going through all pairs from the closest to the farthest and joining those
whose two sides are both free. It is found by rounds of proposals instead (Gale and Shapley 1962):
with one closeness for both sides, the stable assignment is the greedy one. The assignment of
largest total closeness would need the whole table of pairs in memory.

Dimensions: K = tokens, C = candidates of each.
"""

import numpy as np
from jaxtyping import Float32, Int64


def assign_greedily(
    candidates_KC: Int64[np.ndarray, "K C"],
    closeness_KC: Float32[np.ndarray, "K C"],
    n_choices: int,
) -> Int64[np.ndarray, " K"]:
    """Assign each token at most one of its candidates, and no candidate twice.

    Args:
        candidates_KC: choices of each token, closest first.
        closeness_KC: how close they are, not increasing along a row.
        n_choices: one more than the largest candidate may be.

    Returns:
        The choice of each token, -1 where all its candidates went to closer tokens. Of tokens
        that are equally close the lowest has it.
    """
    n_tokens, n_candidates = candidates_KC.shape
    asked_K = np.zeros(n_tokens, np.int64)
    holder = np.full(n_choices, -1, np.int64)
    free = np.arange(n_tokens)
    while len(free):
        wanted = candidates_KC[free, asked_K[free]]
        held = np.unique(wanted[holder[wanted] >= 0])
        # Holders stand beside those who ask; the closest of all of them has the choice.
        tokens = np.append(free, holder[held])
        choices = np.append(wanted, held)
        order = np.lexsort((tokens, -closeness_KC[tokens, asked_K[tokens]], choices))
        tokens, choices = tokens[order], choices[order]
        wins = np.append(True, choices[1:] != choices[:-1])
        holder[choices[wins]] = tokens[wins]
        losers = tokens[~wins]
        asked_K[losers] += 1
        free = losers[asked_K[losers] < n_candidates]
    chosen_K = np.full(n_tokens, -1, np.int64)
    taken = np.flatnonzero(holder >= 0)
    chosen_K[holder[taken]] = taken
    return chosen_K
