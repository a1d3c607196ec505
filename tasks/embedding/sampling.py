"""Choose text at random, for hidden states."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

BYTES_PER_TOKEN = 8
"""More than any tokenizer reaches on text that is new to it, so that the sample is large enough."""


def choose_documents(
    n_bytes_N: Int64[np.ndarray, " N"], n_tokens: int, rng: np.random.Generator
) -> list[int]:
    """Draw documents until they hold enough text for ``n_tokens`` tokens; sorted indices."""
    return choose_by_bytes(n_bytes_N, n_tokens * BYTES_PER_TOKEN, rng)


def choose_by_bytes(
    n_bytes_N: Int64[np.ndarray, " N"], budget_bytes: int, rng: np.random.Generator
) -> list[int]:
    """Draw documents until they hold so many bytes, or are all taken; sorted indices."""
    order = rng.permutation(len(n_bytes_N))
    enough = np.searchsorted(np.cumsum(n_bytes_N[order]), budget_bytes)
    return sorted(order[: int(enough) + 1].tolist())


def cut_windows(
    documents: Sequence[Sequence[int]],
    prefix: int,
    window_tokens: int,
    n_tokens: int,
    rng: np.random.Generator,
) -> list[list[int]]:
    """Cut documents into windows behind the document prefix and draw enough of them.

    Args:
        documents: token ids of each document.
        prefix: id that stands before every document.
        window_tokens: length of a window, prefix included; a document's last may be shorter.
        n_tokens: draw windows until they hold this many tokens.
        rng: chooses the windows.
    """
    step = window_tokens - 1
    windows = [
        [prefix, *document[start : start + step]]
        for document in documents
        for start in range(0, len(document), step)
    ]
    order = rng.permutation(len(windows)).tolist()
    totals = np.cumsum([len(windows[i]) for i in order])
    return [windows[i] for i in order[: int(np.searchsorted(totals, n_tokens)) + 1]]
