r"""SuperBPE: tokens of several words, learnt after ordinary ones.

Up to a transition size merges are learnt inside words, as ever. Then the text is cut into
stretches whose only borders are numbers, runs of punctuation and runs of spaces, and learning goes
on over these, so that frequent neighbours such as " of the" become one token. The result is one
ordinary list of merges under the pre-tokenizer of the stretches: any library that can read the
regex encodes it exactly. SuperBPE, Liu et al. 2025 (arXiv 2503.13423).
"""

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tasks.shared.errors import InputError
from tasks.tokenizer.bpe import check_found, check_size
from tasks.tokenizer.cut_words import BYTES_IN_ORDER, pretoken_bytes, words_of_bytes
from tasks.tokenizer.cutters import Cutter
from tasks.tokenizer.merge_loop import Learnt, Limits, learn_merges
from tasks.tokenizer.pretoken_counts import PretokenCounts, merge_counts
from tasks.tokenizer.recut import recut

MAX_WORDS = 4
"""Most words in a token, as in the tokenizers that the authors published."""
NEVER_ACROSS = b":"
"""No token of the second stage holds it: what stands before a colon is of another kind."""


class TransitionError(InputError):
    """The transition lies outside of the vocabulary."""


def within_stretches(words: PretokenCounts, stretches: Cutter) -> PretokenCounts:
    r"""Cut words where a stretch would end inside them.

    Else tokens such as a line end with the spaces behind it would be learnt, of which no stretch
    ever holds more than a part.

    Args:
        words: counted by any rule.
        stretches: cuts text as the tokenizer will.
    """
    pieces = [
        [stretches.to_bytes(piece) for piece in stretches.cut(data.decode())]
        for data in pretoken_bytes(words)
    ]
    counts = np.repeat(words.counts, [len(cut) for cut in pieces])
    flat = [piece for cut in pieces for piece in cut]
    starts = np.cumsum([0, *map(len, flat)], dtype=np.int64)
    data = np.frombuffer(b"".join(flat), np.uint8)
    return merge_counts([PretokenCounts(data, starts, counts)], None)


def learn_superwords(
    words: PretokenCounts,
    stretches: PretokenCounts,
    transition: int,
    limits: Limits,
    n_special: int,
    *,
    max_words: int = MAX_WORDS,
    never_across: bytes = NEVER_ACROSS,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Learnt:
    """Learn merges over bytes inside words, then go on inside stretches.

    Memory grows with the bytes of all different stretches, which are hardly fewer than the bytes
    of the text: about 60 bytes of memory for each. Stretches above the counter's limit on length
    are not learnt from, so that the limit should be some thousand bytes; or give it a sample.

    Args:
        words: counted by an ordinary rule, cut by ``within_stretches``.
        stretches: counts of the same text under ``stretch_pattern``.
        transition: size of the vocabulary at which the second stage begins; the authors' is 70 to
            90 % of the whole. At the whole size the result is that of ordinary BPE.
        limits: for both stages; ``n_tokens`` is the whole vocabulary with its special tokens.
        n_special: special tokens that the vocabulary will hold.
        max_words: most words in a token of the second stage. A word is a run of what is no ASCII
            white space, so that a script without spaces is held by ``max_token_bytes`` alone.
        never_across: bytes that no token of the second stage holds; empty for none.
        progress: called with tokens and those wanted.

    Returns:
        Merges of both stages in a row. Counts are those of the stretches at the end.

    Raises:
        VocabularyTooSmallError: no room for the bytes and special tokens.
        TransitionError: the transition is larger than the vocabulary or smaller than its bytes.
        CorpusTooSmallError: the text does not hold so many pairs.
    """
    check_size(limits.n_tokens, n_special)
    n_least = len(BYTES_IN_ORDER) + n_special
    if not n_least <= transition <= limits.n_tokens:
        raise TransitionError(
            f"transition={transition} must lie from {n_least}, the bytes and special tokens, to "
            f"vocabulary_size={limits.n_tokens}; choose about 80 % of the vocabulary."
        )
    first_limits = limits.with_tokens(transition - n_special)
    first = learn_merges(words_of_bytes(words), BYTES_IN_ORDER, first_limits, progress=progress)
    check_found(first.n_visible() + n_special, limits.with_tokens(transition), "transition")
    n_first = len(first.token_bytes)
    cut = recut(words_of_bytes(stretches), first.merges, n_first)
    blocked = _blocked(limits.blocked, max_words, never_across)
    wanted = replace(limits, n_tokens=limits.n_tokens - n_special, blocked=blocked)
    second = learn_merges(cut.words, first.token_bytes, wanted, progress=progress)
    check_found(second.n_visible() + n_special, limits, "vocabulary_size")
    made = second.made.copy()
    made[:n_first] += cut.made
    later = second.events + np.array([0, 0, len(first.merges)], np.int64)
    return replace(
        second,
        merges=np.concatenate([first.merges, second.merges]),
        made=made,
        events=np.concatenate([first.events, later]),
    )


def _blocked(
    own: re.Pattern[bytes] | None, max_words: int, never_across: bytes
) -> re.Pattern[bytes]:
    """What is found in no token of the second stage, in one pattern."""
    # The person's own part stands first, for flags inside a pattern must stand at its begin.
    parts = [] if own is None else [own.pattern]
    parts.append(rb"\S+(?:\s+\S+){%d}" % max_words)
    parts += [re.escape(never_across)] if never_across else []
    return re.compile(b"|".join(parts), 0 if own is None else own.flags)
