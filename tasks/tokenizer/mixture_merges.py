"""The merges that training made, as mixture inference needs them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from tasks.shared.errors import InputError
from tasks.tokenizer.rank_rule import last_merges

Merge = tuple[bytes, bytes]


class MergeOrderError(InputError):
    """A list of merges uses a token before it is made."""


def training_merges(merges: Sequence[Merge], n_tokens: int) -> list[Merge]:
    """Give the merge that made each token, for the first tokens made.

    A list written for a tokenizer without one, such as tiktoken's, holds every cut of a token in
    two others. Training merged one of them: that at which the merges of the token's own text end.

    Args:
        merges: first to last.
        n_tokens: how many.
    """
    ways: dict[bytes, list[Merge]] = {}
    for left, right in merges:
        if left + right in ways or len(ways) < n_tokens:
            ways.setdefault(left + right, []).append((left, right))
    if len(ways) == sum(map(len, ways.values())):
        return [way for (way,) in ways.values()]
    last = last_merges({token: rank for rank, token in enumerate(ways)})
    made = [listed[0] if len(listed) == 1 else last[token] for token, listed in ways.items()]
    return [merge for merge in made if merge is not None]


def number_merges(
    base: Sequence[bytes], merges: Sequence[Merge]
) -> tuple[list[bytes], Int64[np.ndarray, " T"]]:
    """Number all tokens, base ones first, and write each merge as ``left << 32 | right``.

    Args:
        base: all different.
        merges: first to last.

    Raises:
        MergeOrderError: a merge joins what is no token by then.
    """
    ids = {token: number for number, token in enumerate(base)}
    keys: list[int] = []
    for step, (left, right) in enumerate(merges):
        if left not in ids or right not in ids:
            missing = right if left in ids else left
            raise MergeOrderError(
                f"Merge {step} joins {left!r} and {right!r}, and {missing!r} is no token by then; "
                "give the list whole and in the tokenizer's order."
            )
        keys.append(ids[left] << 32 | ids[right])
        ids.setdefault(left + right, len(ids))
    return list(ids), np.array(keys, np.int64)
