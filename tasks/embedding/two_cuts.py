"""One text cut by the old and by the new tokenizer, and where both cuts agree.

Where both spell the same bytes, lengths alone tell where a token ends. Only a space that one of
the two adds before a document may differ, which is why ends are counted from the end.

Dimensions: N = old tokens of a document, M = new tokens, V, W = old and new vocabulary,
P = shared ends.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from tasks.shared.errors import InputError


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


@dataclass(frozen=True)
class Spelling:
    """What the tokens of a vocabulary spell; special ones spell nothing."""

    token_bytes: tuple[bytes, ...]
    lengths: Int64[np.ndarray, " V"]

    @classmethod
    def of(cls, token_bytes: Sequence[bytes | None]) -> "Spelling":
        """Of a vocabulary by id."""
        data = tuple(each or b"" for each in token_bytes)
        return cls(data, np.array([len(each) for each in data], np.int64))

    def text(self, ids_N: Int64[np.ndarray, " N"]) -> bytes:
        """What these tokens spell together."""
        return b"".join(map(self.token_bytes.__getitem__, ids_N.tolist()))


def are_one_text(old: bytes, new: bytes) -> bool:
    """Compare what two tokenizers spell; one may have put a space before it."""
    longer, shorter = (old, new) if len(old) > len(new) else (new, old)
    return longer in (shorter, b" " + shorter)


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
        Old tokens and new tokens up to each shared boundary, or None if the two cannot spell the
        same text: one is longer by more than a space before it.
    """
    if abs(int(old_lengths_N.sum()) - int(new_lengths_M.sum())) > 1:
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
    old: Spelling,
    new: Spelling,
    prefixes: tuple[int, int],
    window_tokens: int,
) -> tuple[list[PairedWindow], int]:
    """Cut documents at shared boundaries into windows that fit under both tokenizers.

    Args:
        documents: arrays of old ids and of new ids of each document, without special tokens.
        old: what each old token spells.
        new: what each new token spells.
        prefixes: old and new id of the token before every document.
        window_tokens: most tokens of a window under either tokenizer, prefix included.

    Returns:
        Windows, and how many documents were passed over, as the two spell them differently.

    Raises:
        DifferentTextError: there are documents, but none that both spell with the same bytes.
    """
    windows: list[PairedWindow] = []
    n_read = n_same = 0
    for old_ids, new_ids in documents:
        old_N, new_M = old_ids.astype(np.int64), new_ids.astype(np.int64)
        n_read += 1
        if not are_one_text(old.text(old_N), new.text(new_M)):
            continue
        ends = shared_ends(old.lengths[old_N], new.lengths[new_M])
        n_same += 1
        if ends is not None:
            windows += _windows_of(old_N, new_M, *ends, prefixes, window_tokens)
    if n_read and not n_same:
        raise different_text_error(n_read)
    return windows, n_read - n_same


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
