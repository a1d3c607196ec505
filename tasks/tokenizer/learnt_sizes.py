"""Vocabularies of several sizes from one run of the merge loop.

What BPE learns first is the same for every size. Scaffold-BPE takes tokens out again, so that a
smaller vocabulary is no part of a larger one; it is what stood when the run first held so many
visible tokens. Either way a size is what a run of its own would have made.
"""

from collections.abc import Callable, Sequence

import numpy as np

from tasks.tokenizer.bpe import check_size, learn_vocabulary
from tasks.tokenizer.cut_words import words_of_bytes
from tasks.tokenizer.learnt_prefix import Prefixes, scaffolds_after
from tasks.tokenizer.merge_loop import Learnt, Limits, Words
from tasks.tokenizer.pretoken_counts import PretokenCounts
from tasks.tokenizer.recut import recut


def learn_sizes(
    counts: PretokenCounts,
    limits: Limits,
    other_sizes: Sequence[int],
    n_special: int,
    *,
    scaffold: bool,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[int, Learnt]:
    """Learn merges over bytes up to the largest size.

    Args:
        counts: pre-tokens.
        limits: ``n_tokens`` is the main size: special tokens, bytes, merges.
        other_sizes: counted in the same way.
        n_special: special tokens that each vocabulary will hold.
        scaffold: Scaffold-BPE; tokens that it takes out do not count.
        progress: called with tokens and those wanted.

    Returns:
        What was learnt, by size, the main one first.

    Raises:
        VocabularyTooSmallError: a size has no room for the bytes and special tokens.
        CorpusTooSmallError: the text does not hold so many pairs.
    """
    for size in other_sizes:
        check_size(size, n_special, "other_sizes")
    sizes = (limits.n_tokens, *other_sizes)
    largest = max(sizes)
    field = "vocabulary_size" if largest == limits.n_tokens else "other_sizes"
    whole = learn_vocabulary(
        counts,
        limits.with_tokens(largest),
        n_special,
        scaffold=scaffold,
        field=field,
        progress=progress,
    )
    words = words_of_bytes(counts)
    return {size: at_size(whole, words, size - n_special) for size in sizes}


def at_size(learnt: Learnt, words: Words, n_visible: int) -> Learnt:
    """What a run that ends at so many visible tokens learns.

    Args:
        learnt: by a longer run.
        words: from which it was learnt.
        n_visible: tokens that are no scaffolds, base tokens included.
    """
    prefix = Prefixes(learnt).shortest(n_visible)
    if prefix.n_events == len(learnt.events):
        return learnt
    merges = learnt.merges[: prefix.n_merges]
    cut = recut(words, merges, prefix.n_tokens)
    return Learnt(
        merges,
        learnt.token_bytes[: prefix.n_tokens],
        cut.counts,
        cut.made,
        np.isin(np.arange(prefix.n_tokens), sorted(scaffolds_after(learnt, prefix))),
        learnt.events[: prefix.n_events],
    )
