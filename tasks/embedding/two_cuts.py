"""One text cut by the old and by the new tokenizer, and where both cuts agree.

Both spell the same bytes, so lengths alone tell where a token ends. Only a space that one of the
two adds before a document may differ, which is why ends are counted from the end of the document.

Dimensions: N = old tokens of a document, M = new tokens, V, W = old and new vocabulary,
P = shared ends.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from tasks.shared.errors import InputError

MAX_ADDED_BYTES = 1
"""A word-start marker before the text."""


class DifferentTextError(InputError):
    """The two tokenizers spell no document with the same bytes."""


@dataclass(frozen=True)
class PairedWindow:
    """A stretch of text in old and in new tokens, each behind the document prefix.

    The tokens at ``old_at[p]`` and ``new_at[p]`` end at the same byte.
    """

    old: Int64[np.ndarray, " N"]
    new: Int64[np.ndarray, " M"]
    old_at: Int64[np.ndarray, " P"]
    new_at: Int64[np.ndarray, " P"]


def byte_lengths(token_bytes: Sequence[bytes | None]) -> Int64[np.ndarray, " V"]:
    """Length of each token; 0 for special ones, which spell nothing."""
    return np.array([0 if data is None else len(data) for data in token_bytes], np.int64)


def spell_the_same(
    old_lengths_N: Int64[np.ndarray, " N"], new_lengths_M: Int64[np.ndarray, " M"]
) -> bool:
    """Tell by the number of bytes whether two cuts are of the same text."""
    return abs(int(old_lengths_N.sum()) - int(new_lengths_M.sum())) <= MAX_ADDED_BYTES


def different_text_error(n_documents: int) -> DifferentTextError:
    """Say that no document is the same text under both tokenizers."""
    return DifferentTextError(
        f"the two tokenizers spell none of {n_documents} documents with the same bytes: their "
        "normalisers change text in different ways; use an initialiser that needs no text under "
        "both, such as mean_of_pieces."
    )


def shared_ends(
    old_lengths_N: Int64[np.ndarray, " N"], new_lengths_M: Int64[np.ndarray, " M"]
) -> tuple[Int64[np.ndarray, " P"], Int64[np.ndarray, " P"]] | None:
    """Find where both cuts of a document have a boundary.

    Args:
        old_lengths_N: bytes of each old token.
        new_lengths_M: bytes of each new token.

    Returns:
        Old tokens and new tokens up to each shared boundary, or None if the two do not spell the
        same text.
    """
    if not spell_the_same(old_lengths_N, new_lengths_M):
        return None
    old_ends_N = np.cumsum(old_lengths_N) - old_lengths_N.sum()
    new_ends_M = np.cumsum(new_lengths_M) - new_lengths_M.sum()
    # Tokens of no bytes end where the one before them ends; the last of them stands for all.
    new_ends, new_counts = _last_of_each(new_ends_M)
    old_ends, old_counts = _last_of_each(old_ends_N)
    _, at_old, at_new = np.intersect1d(old_ends, new_ends, assume_unique=True, return_indices=True)
    return old_counts[at_old], new_counts[at_new]


def _last_of_each(
    ends_N: Int64[np.ndarray, " N"],
) -> tuple[Int64[np.ndarray, " U"], Int64[np.ndarray, " U"]]:
    """Distinct ends, and how many tokens there are up to the last token with that end."""
    counts_N = np.arange(1, len(ends_N) + 1)
    last_N = np.append(ends_N[1:] != ends_N[:-1], True)[: len(ends_N)]
    return ends_N[last_N], counts_N[last_N]


def cut_paired_windows(
    documents: Iterable[tuple[np.ndarray, np.ndarray]],
    old_lengths_V: Int64[np.ndarray, " V"],
    new_lengths_W: Int64[np.ndarray, " W"],
    prefixes: tuple[int, int],
    window_tokens: int,
) -> list[PairedWindow]:
    """Cut documents at shared boundaries into windows that fit under both tokenizers.

    Args:
        documents: arrays of old ids and of new ids of each document, without special tokens.
        old_lengths_V: bytes of each old token.
        new_lengths_W: bytes of each new token.
        prefixes: old and new id of the token before every document.
        window_tokens: most tokens of a window under either tokenizer, prefix included.

    Raises:
        DifferentTextError: there are documents, but none that both spell with the same bytes.
    """
    windows: list[PairedWindow] = []
    n_read = n_same = 0
    for old_ids, new_ids in documents:
        old_N, new_M = old_ids.astype(np.int64), new_ids.astype(np.int64)
        ends = shared_ends(old_lengths_V[old_N], new_lengths_W[new_M])
        n_read += 1
        n_same += ends is not None
        if ends is not None:
            windows += _windows_of(old_N, new_M, *ends, prefixes, window_tokens)
    if n_read and not n_same:
        raise different_text_error(n_read)
    return windows


def _windows_of(
    old_N: Int64[np.ndarray, " N"],
    new_M: Int64[np.ndarray, " M"],
    old_counts_P: Int64[np.ndarray, " P"],
    new_counts_P: Int64[np.ndarray, " P"],
    prefixes: tuple[int, int],
    window_tokens: int,
) -> Iterator[PairedWindow]:
    # Counts before the first boundary are 0, so that a window can start with the document.
    old_counts = np.append(0, old_counts_P)
    new_counts = np.append(0, new_counts_P)
    start = 0
    while start < len(old_counts_P):
        ends = [
            int(np.searchsorted(counts, counts[start] + window_tokens - 1, side="right")) - 1
            for counts in (old_counts, new_counts)
        ]
        end = min(ends)
        if end > start:
            old_part = slice(old_counts[start], old_counts[end])
            new_part = slice(new_counts[start], new_counts[end])
            yield PairedWindow(
                np.append(prefixes[0], old_N[old_part]),
                np.append(prefixes[1], new_M[new_part]),
                old_counts[start + 1 : end + 1] - old_counts[start],
                new_counts[start + 1 : end + 1] - new_counts[start],
            )
        # A stretch longer than a window has no place in any.
        start = max(end, start + 1)
