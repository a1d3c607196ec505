"""Learn merges from counted words: the loop behind every method that learns a vocabulary.

Sennrich et al. 2016 (BPE, arXiv 1508.07909); Scaffold-BPE, 2024 (arXiv 2404.17808), algorithm 1.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int32, Int64

from tasks.tokenizer import merge_kernels as kernels

_MERGES_A_CALL = 1024


@dataclass(frozen=True)
class Words:
    """Unique words as token ids, each with how often it occurs.

    Attributes:
        symbols: ids of all words, end to end.
        starts: where each word starts in ``symbols``, and a last entry S.
        counts: occurrences.
    """

    symbols: Int32[np.ndarray, " S"]
    starts: Int64[np.ndarray, " W1"]
    counts: Int64[np.ndarray, " W"]


@dataclass(frozen=True)
class Limits:
    """What ends the loop and what it leaves out.

    Attributes:
        n_tokens: visible tokens wanted, base tokens included.
        min_frequency: a pair that occurs less often is not merged.
        max_token_bytes: longest token made, inclusive.
        blocked: no token is made in whose bytes this is found.
        max_merges: most merges, whatever the tokens.
    """

    n_tokens: int
    min_frequency: int = 2
    max_token_bytes: int = 1 << 30
    blocked: re.Pattern[bytes] | None = None
    max_merges: int = 1 << 40

    def with_tokens(self, n_tokens: int) -> "Limits":
        """The same limits for another size."""
        return replace(self, n_tokens=n_tokens)


@dataclass(frozen=True)
class Learnt:
    """Merges in order, and all tokens: base ones first, then made ones in order of making.

    Attributes:
        merges: left, right and result id by rank.
        token_bytes: by id.
        counts: how often each token stands in the words as they are cut at the end.
        made: how often a merge made it; the difference to ``counts`` went into longer tokens.
        is_scaffold: whether Scaffold-BPE took it out of the vocabulary.
        events: kind, token and number of merges before it, of everything that changed the
            vocabulary; kinds as in ``merge_kernels``.
    """

    merges: Int32[np.ndarray, "M 3"]
    token_bytes: list[bytes]
    counts: Int64[np.ndarray, " T"]
    made: Int64[np.ndarray, " T"]
    is_scaffold: np.ndarray
    events: Int64[np.ndarray, "E 3"]

    def n_visible(self) -> int:
        """Tokens that are no scaffold."""
        return int(np.sum(~self.is_scaffold))


def learn_merges(
    words: Words,
    base: Sequence[bytes],
    limits: Limits,
    *,
    scaffold: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Learnt:
    """Merge the most frequent pair again and again until the vocabulary is large enough.

    Args:
        words: what to learn from, as ids of ``base``.
        base: bytes of the tokens to start from; they are never taken out again.
        limits: when to stop. Fewer tokens come back where the words hold no more pairs.
        scaffold: Scaffold-BPE. A token made of which too little is left leaves the vocabulary but
            goes on serving as a step to longer ones; it comes back when its own count is the
            highest left. ``n_tokens`` counts the others.
        progress: called now and then with visible tokens and those wanted.
    """
    state = kernels.count_pairs(start_state(words, base))
    n = state.n
    while n[kernels.N_VISIBLE] < limits.n_tokens and n[kernels.N_MERGES] < limits.max_merges:
        most = min(limits.max_merges, int(n[kernels.N_MERGES]) + _MERGES_A_CALL)
        state = kernels.merge_until(
            state,
            limits.n_tokens,
            most,
            limits.min_frequency,
            limits.max_token_bytes,
            scaffold,
            limits.blocked is not None,
        )
        if n[kernels.STATUS] == kernels.ASKS:
            _answer(state, limits.blocked)
            continue
        progress(int(n[kernels.N_VISIBLE]), limits.n_tokens)
        if n[kernels.STATUS] == kernels.EXHAUSTED:
            break
    return _learnt(state)


def start_state(words: Words, base: Sequence[bytes]) -> kernels.State:
    """The state before the first pair is counted."""
    lengths_W = np.diff(words.starts)
    n_symbols, n_base = len(words.symbols), len(base)
    arena = np.frombuffer(b"".join(base), np.uint8).copy()
    tokens = np.zeros((n_base, kernels.N_TOKEN_COLUMNS), np.int64)
    tokens[:, kernels.LENGTH] = [len(data) for data in base]
    tokens[:, kernels.START] = np.cumsum(tokens[:, kernels.LENGTH]) - tokens[:, kernels.LENGTH]
    tokens[:, [kernels.LEFT_PAIR, kernels.RIGHT_PAIR]] = -1
    n = np.zeros(kernels.N_PLACES, np.int64)
    n[kernels.N_TOKENS] = n[kernels.N_VISIBLE] = n_base
    n[kernels.N_BYTES] = len(arena)
    token_slots = np.full(1 << int(2 * n_base + 2).bit_length(), -1, np.int32)
    kernels.enter_tokens(token_slots, tokens, arena)
    # Each merge takes one symbol away and notes at most two words, so that the notes of the whole
    # run fit; pages that are never written take no memory.
    nodes = np.empty((3 * n_symbols + 1, 2), np.int32)
    return kernels.State(
        words.symbols.copy(), words.starts[:-1].copy(), lengths_W, words.counts.copy(),
        np.full((1 << 12, 2), -1, np.int64), np.empty((1, 5), np.int64), nodes,
        np.empty((1, 2), np.int64), tokens, np.empty((2, 2 * n_base + 2), np.int32), token_slots,
        arena, np.empty((1, 3), np.int32), np.empty((4, 3), np.int64), n,
    )  # fmt: skip


def _answer(state: kernels.State, blocked: re.Pattern[bytes] | None) -> None:
    """Say whether the pair that the loop stopped at may be merged."""
    pair = state.pairs[state.n[kernels.CANDIDATE]]
    key = int(pair[kernels.KEY])
    data = b"".join(_bytes_of(state, token) for token in (key >> 32, key & 0xFFFFFFFF))
    stands = blocked is not None and blocked.search(data)
    pair[kernels.VERDICT] = kernels.BLOCKED if stands else kernels.ALLOWED


def _bytes_of(state: kernels.State, token: int) -> bytes:
    start, length = state.tokens[token, [kernels.START, kernels.LENGTH]]
    return state.arena[start : start + length].tobytes()


def _learnt(state: kernels.State) -> Learnt:
    n = state.n
    tokens = state.tokens[: n[kernels.N_TOKENS]]
    data = state.arena.tobytes()
    spans = tokens[:, [kernels.START, kernels.LENGTH]].tolist()
    return Learnt(
        merges=state.merges[: n[kernels.N_MERGES]].copy(),
        token_bytes=[data[start : start + length] for start, length in spans],
        counts=tokens[:, kernels.COUNT].copy(),
        made=tokens[:, kernels.MADE].copy(),
        is_scaffold=tokens[:, kernels.STANDING] == kernels.SCAFFOLD,
        events=state.events[: n[kernels.N_EVENTS]].copy(),
    )
