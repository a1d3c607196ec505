"""Tokens that are made on the way to other tokens and seldom left over.

A BPE vocabulary needs ``tokeniz`` to make ``tokenizer`` and then hardly ever uses it: a residue,
whose row is seldom trained and seldom read. The final ratio of a token is how often it is left at
the end over how often it is there at any time. Source: LiteToken, arXiv 2602.04706 (its ratio
F1 / (F1 + F2), F2 being how often the token is merged further).

Dimensions: W = vocabulary, P = unique words, B = base ids of all words, M = merges, S = sizes.
"""

import numpy as np
from jaxtyping import Float64, Int32, Int64

from tasks.shared.errors import InputError
from tasks.shared.vocabulary_record import Vocabulary
from tasks.tokenizer.residue_kernels import build_pair_table, count_by_prefix, count_final_and_made


class WordsError(InputError):
    """Words, counts and merges do not fit together."""


def final_and_made(
    word_ids: Int32[np.ndarray, " B"],
    starts: Int64[np.ndarray, " P1"],
    counts: Int64[np.ndarray, " P"],
    merges_M3: Int32[np.ndarray, "M 3"],
    n_ids: int,
) -> tuple[Int64[np.ndarray, " W"], Int64[np.ndarray, " W"]]:
    """Merge every word by rank and count what is left and what was there on the way.

    Args:
        word_ids: base ids (those of single bytes, as a rule) of all words, one after the other.
            Negative ids are bytes without a token and are skipped, as the library skips them.
        starts: where each word starts in ``word_ids``, and where the last one ends; length P + 1.
        counts: how often each word occurs.
        merges_M3: (left, right, result) by rank. Of equal pairs the first one counts.
        n_ids: size of the vocabulary.

    Returns:
        Occurrences of each id at the end, and at any time: made by a merge or there at the start.
        The second is never less than the first.

    Raises:
        WordsError: the arrays do not fit together.
    """
    _check(word_ids, starts, counts, merges_M3, n_ids)
    final_W, made_W = (np.zeros(n_ids, dtype=np.int64) for _ in range(2))
    table = build_pair_table(merges_M3)
    count_final_and_made(word_ids, starts, counts, *table, final_W, made_W)
    return final_W, made_W


def final_ratios(
    final_W: Int64[np.ndarray, " W"], made_W: Int64[np.ndarray, " W"]
) -> Float64[np.ndarray, " W"]:
    """Divide, NaN where a token is never made."""
    ratios_W = np.full(len(made_W), np.nan)
    np.divide(final_W, made_W, out=ratios_W, where=made_W > 0)
    return ratios_W


def prefix_token_counts(
    word_ids: Int32[np.ndarray, " B"],
    starts: Int64[np.ndarray, " P1"],
    counts: Int64[np.ndarray, " P"],
    merges_M3: Int32[np.ndarray, "M 3"],
    n_merges: Int64[np.ndarray, " S"],
) -> Int64[np.ndarray, " S"]:
    """Count the tokens of all words under the first merges of a list, for many lengths at once.

    A smaller BPE vocabulary is the begin of a larger one, so one training and one pass over the
    words answer for every size.

    Args:
        word_ids: as for ``final_and_made``.
        starts: the same.
        counts: the same.
        merges_M3: the same.
        n_merges: how many of the first merges, ascending.

    Returns:
        Tokens of all occurrences of all words, by length.

    Raises:
        WordsError: the arrays do not fit together, or a length is not among those possible.
    """
    _check(word_ids, starts, counts, merges_M3, np.iinfo(np.int32).max)
    within = np.all((n_merges >= 0) & (n_merges <= len(merges_M3)))
    if not within or np.any(np.diff(n_merges) < 0):
        raise WordsError(
            f"The prefixes {n_merges.tolist()[:20]} of {len(merges_M3)} merges must ascend from 0 "
            f"to at most {len(merges_M3)}; sort them, or train more merges."
        )
    totals_S = np.zeros(len(n_merges), dtype=np.int64)
    table = build_pair_table(merges_M3)
    count_by_prefix(word_ids, starts, counts, *table, n_merges, totals_S)
    return totals_S


def ids_of_bytes(vocabulary: Vocabulary) -> Int32[np.ndarray, " 256"]:
    """Give the id of each byte value, -1 where the vocabulary has none.

    So ``ids_of_bytes(vocabulary)[data]`` turns the bytes of words into base ids.
    """
    ids_256 = np.full(256, -1, dtype=np.int32)
    for token_id, data in reversed(list(enumerate(vocabulary.token_bytes))):
        if data is not None and len(data) == 1:
            ids_256[data[0]] = token_id
    return ids_256


def _check(
    word_ids: Int32[np.ndarray, " B"],
    starts: Int64[np.ndarray, " P1"],
    counts: Int64[np.ndarray, " P"],
    merges_M3: Int32[np.ndarray, "M 3"],
    n_ids: int,
) -> None:
    """Refuse what would make the compiled code read or write beside its arrays."""
    if len(starts) != len(counts) + 1 or starts[0] < 0 or starts[-1] > len(word_ids):
        raise WordsError(
            f"{len(counts)} words need {len(counts) + 1} starts from 0 to at most {len(word_ids)}, "
            f"the number of ids; {len(starts)} came, from {starts[:1]} to {starts[-1:]}."
        )
    if np.any(np.diff(starts) < 0):
        raise WordsError(
            f"Starts of words must not descend, but start {int(np.argmin(np.diff(starts))) + 1} is "
            "below the one before it; give the words in the order of their ids."
        )
    largest = max(word_ids.max(initial=-1), merges_M3.max(initial=-1))
    if largest >= n_ids or merges_M3.min(initial=0) < 0:
        raise WordsError(
            f"Ids of words and merges must be below {n_ids}, the vocabulary's size, and those of "
            f"merges not negative; they reach from {merges_M3.min(initial=0)} to {largest}. "
            "Take words, merges and size from one tokenizer."
        )
