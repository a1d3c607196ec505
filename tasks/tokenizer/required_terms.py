"""A learnt vocabulary in which given terms are one token each, of the size that was asked for.

The last merges that were learnt make room for the terms, whose own merges come behind those that
stay (``term_chains``). What BPE learns first is the same for every size, so that the merges that
stay are those of a smaller vocabulary.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int32, Int64

from tasks.tokenizer import merge_kernels as kernels
from tasks.tokenizer.cut_words import BYTES_IN_ORDER
from tasks.tokenizer.errors import CorpusTooSmallError, VocabularyTooSmallError
from tasks.tokenizer.learnt_prefix import Prefix, Prefixes, scaffolds_after
from tasks.tokenizer.merge_loop import Learnt, Words
from tasks.tokenizer.recut import recut
from tasks.tokenizer.term_chains import Chains
from tasks.tokenizer.term_errors import TermError

Cut = Callable[[Sequence[bytes]], Sequence[Sequence[int] | None]]
"""Base tokens of some terms; ``None`` where a term cannot be written."""

_N_SHOWN = 5
_ID_OF_BYTE = {data[0]: number for number, data in enumerate(BYTES_IN_ORDER)}
_NO_MERGES: Int32[np.ndarray, "0 3"] = np.zeros((0, 3), np.int32)


def cut_to_bytes(terms: Sequence[bytes]) -> list[list[int]]:
    """Terms as the bytes that a new vocabulary starts from."""
    return [[_ID_OF_BYTE[byte] for byte in term] for term in terms]


def check_terms_are_words(terms: Sequence[bytes], cut: Callable[[str], list[str]]) -> None:
    """Refuse terms that are cut before the model sees them, so that no merge can make them whole.

    Args:
        terms: in UTF-8.
        cut: normalises a text and cuts it into words.

    Raises:
        TermError: it shows the first few of them and how they are cut.
    """
    words_of = {text: cut(text) for text in (term.decode() for term in terms)}
    wrong = [f"{text!r} -> {words}" for text, words in words_of.items() if words != [text]]
    if wrong:
        raise TermError(
            f"{len(wrong)} of {len(words_of)} terms are no single word under the chosen rule for "
            f"words ({'; '.join(wrong[:_N_SHOWN])}); take them out, leave them out with if_cut: "
            "leave_out, or choose another rule for words or digits."
        )


def require_terms(
    learnt: Learnt,
    words: Words,
    n_visible: int,
    terms: Sequence[bytes],
    cut: Cut = cut_to_bytes,
    *,
    base_merges: Int32[np.ndarray, "M 3"] = _NO_MERGES,
    hide_steps: bool = False,
) -> Learnt:
    """Make every term one token in a vocabulary of exactly that size.

    Tokens that a term needs on the way take room too: up to one for each of its pieces but one.

    Args:
        learnt: from base tokens; ``n_visible`` tokens suffice.
        words: from which it was learnt. Tokens are counted in them anew.
        n_visible: tokens that are no scaffolds, base tokens included.
        terms: their bytes; a term that is there twice counts once.
        cut: to base tokens.
        base_merges: of the tokenizer that made the base tokens; they go before all others.
        hide_steps: Scaffold-BPE: tokens on the way to a term become scaffolds and take no room.

    Raises:
        TermError: a term is empty, or the base tokens cannot spell it.
        VocabularyTooSmallError: base tokens and terms are more than ``n_visible``.
        CorpusTooSmallError: with all merges there are fewer tokens than ``n_visible``.
    """
    ids = _cut_all(list(dict.fromkeys(terms)), cut, learnt.token_bytes)
    prefixes = Prefixes(learnt)
    prefix, n_needed = prefixes.longest(n_visible), 0
    while True:
        if prefix is None:
            raise _no_room(prefixes.n_base, n_needed, len(ids), n_visible)
        merges = learnt.merges[: prefix.n_merges]
        hidden = scaffolds_after(learnt, prefix)
        ranked = np.concatenate([base_merges, merges])
        chains = Chains(learnt.token_bytes[: prefix.n_tokens], hidden, ranked)
        for term in ids:
            chains.add(term, hide_steps=hide_steps)
        if chains.n_visible <= n_visible:
            break
        # With fewer merges terms need no fewer tokens, so that no longer prefix is passed over.
        n_needed = chains.n_visible - prefix.n_visible
        prefix = prefixes.longest(n_visible - n_needed)
    _fill(chains, learnt, prefix, n_visible, cut)
    if chains.n_visible < n_visible:
        raise CorpusTooSmallError(
            f"The corpus and {len(ids)} terms yield {chains.n_visible} tokens beside the special "
            f"ones, but {n_visible} were asked for; give it more text or ask for fewer tokens."
        )
    own = np.array(chains.new_merges, np.int32).reshape(-1, 3)
    counted = recut(words, np.concatenate([ranked, own]), len(chains.token_bytes))
    is_scaffold = np.isin(np.arange(len(chains.token_bytes)), sorted(chains.hidden))
    return Learnt(
        np.concatenate([merges, own]),
        chains.token_bytes,
        counted.counts,
        counted.made,
        is_scaffold,
        np.concatenate([learnt.events[: prefix.n_events], _events(prefix, chains, hidden)]),
    )


def _cut_all(terms: list[bytes], cut: Cut, token_bytes: Sequence[bytes]) -> list[Sequence[int]]:
    cuts = [ids or [] for ids in cut(terms)]
    wrong = [
        term
        for term, ids in zip(terms, cuts, strict=True)
        if not term or b"".join(token_bytes[i] for i in ids) != term
    ]
    if wrong:
        raise TermError(
            f"{len(wrong)} of {len(terms)} terms are empty or hold what the tokenizer has no "
            f"tokens for ({wrong[:_N_SHOWN]}); leave them out."
        )
    return cuts


def _no_room(n_base: int, n_needed: int, n_terms: int, n_visible: int) -> VocabularyTooSmallError:
    n_least = n_base + n_needed
    return VocabularyTooSmallError(
        f"{n_visible} tokens beside the special ones are below {n_least}, the {n_base} base tokens "
        f"and {n_needed} more for {n_terms} terms and the steps to them; ask for at least "
        f"{n_least - n_visible} tokens more, or for fewer terms."
    )


def _fill(chains: Chains, learnt: Learnt, prefix: Prefix, n_visible: int, cut: Cut) -> None:
    """Go on with the next learnt merges that still make one token of their bytes."""
    for left, right, _ in learnt.merges[prefix.n_merges :].tolist():
        if chains.n_visible >= n_visible:
            return
        parts = [chains.find(learnt.token_bytes[side]) for side in (left, right)]
        data = learnt.token_bytes[left] + learnt.token_bytes[right]
        ids = cut([data])[0]
        if chains.find(data) is None and ids is not None and chains.cut(ids) == parts:
            chains.add(ids, hide_steps=False)


def _events(prefix: Prefix, chains: Chains, hidden: set[int]) -> Int64[np.ndarray, "E 3"]:
    """What was done to the vocabulary behind the prefix, in the words of the merge loop."""
    rows = list[tuple[int, int, int]]()
    n_tokens, n_merges = prefix.n_tokens, prefix.n_merges
    for _, _, made in chains.new_merges:
        kind = kernels.MADE_TOKEN if made == n_tokens else kernels.MADE_ALTERNATIVE
        rows.append((kind, made, n_merges))
        n_tokens, n_merges = max(n_tokens, made + 1), n_merges + 1
    rows += [(kernels.BECAME_SCAFFOLD, i, n_merges) for i in sorted(chains.hidden - hidden)]
    rows += [(kernels.RESTORED, i, n_merges) for i in sorted(hidden - chains.hidden)]
    return np.array(rows, np.int64).reshape(-1, 3)
