"""The merge loop of every BPE here, compiled: incremental pair counts and a lazy heap.

Words are sequences of token ids with a count. A pair is a key, ``left << 32 | right``. Each merge
visits the words that may hold its pair, rewrites them in place, and changes the counts of the
neighbouring pairs; changes are summed by neighbour first, so that a pair is looked up once a merge
and not once an occurrence. Heap entries are corrected when they come up. Ties at equal counts: a
token before a pair, then the smaller left id, then the smaller right id; for bytes numbered as in
Hugging Face tokenizers this is that library's rule. All counts are int64.

``State`` holds everything, so that the loop can stop after any merge and go on.
"""

from typing import NamedTuple, no_type_check

import numpy as np
from numba import njit

from tasks.tokenizer.heap_kernels import heap_pop, heap_push, heap_replace_top
from tasks.tokenizer.table_kernels import find_pair, find_token, grown, mix, rehashed

# Columns of ``pairs``: the key, its count, the newest node of its list of words, the word of that
# node, and a verdict on what the pair makes.
KEY, PAIR_COUNT, HEAD, LAST, VERDICT = 0, 1, 2, 3, 4
ALLOWED, BLOCKED = 1, 2
# Columns of ``tokens``: where its bytes lie, a hash of them, its count in the segmented words, how
# often it was made, its standing, and scratch space of the merge at work.
START, LENGTH, HASH, COUNT, MADE, STANDING = 0, 1, 2, 3, 4, 5
LEFT_CHANGE, RIGHT_CHANGE, LEFT_PAIR, RIGHT_PAIR = 6, 7, 8, 9
N_TOKEN_COLUMNS = 10
BASE, NORMAL, SCAFFOLD = 0, 1, 2
# Kinds of ``events``.
MADE_TOKEN, MADE_ALTERNATIVE, BECAME_SCAFFOLD, RESTORED = 0, 1, 2, 3
# Places in ``n``.
N_PAIRS, N_NODES, N_HEAP, N_TOKENS, N_BYTES, N_MERGES, N_EVENTS, N_VISIBLE = 0, 1, 2, 3, 4, 5, 6, 7
STATUS, CANDIDATE = 8, 9
N_PLACES = 10
# Values of STATUS.
REACHED, EXHAUSTED, ASKS = 0, 1, 2

_UNSEEN = -1
_TOO_LONG = -2
_TOKEN_ENTRY = np.int64(-(2**62))


class State(NamedTuple):
    """Everything that the loop knows."""

    symbols: np.ndarray
    """int32: token ids of all words; a word's symbols are its first ``lengths``."""
    starts: np.ndarray
    """int64: where each word starts."""
    lengths: np.ndarray
    """int64: symbols of each word by now."""
    counts: np.ndarray
    """int64: occurrences of each word."""
    slots: np.ndarray
    """int64: table of (key, pair)."""
    pairs: np.ndarray
    """int64: see the columns above."""
    nodes: np.ndarray
    """int32: lists of words by pair, as (word, next node)."""
    heap: np.ndarray
    """int64: (count, key); the key of a token is its id below all keys of pairs."""
    tokens: np.ndarray
    """int64: see the columns above."""
    touched: np.ndarray
    """int32: tokens seen to the left and to the right of the merge at work."""
    token_slots: np.ndarray
    """int32: table of tokens by their bytes."""
    arena: np.ndarray
    """uint8: bytes of all tokens."""
    merges: np.ndarray
    """int32: left, right, result."""
    events: np.ndarray
    """int64: kind, token, number of merges."""
    n: np.ndarray
    """int64: how much of each array is in use."""


@njit(cache=True, nogil=True)
@no_type_check
def count_pairs(state):
    """Fill pairs, their word lists and the heap from the words as they are."""
    symbols, starts, lengths, counts = state.symbols, state.starts, state.lengths, state.counts
    slots, pairs, nodes, tokens, n = state.slots, state.pairs, state.nodes, state.tokens, state.n
    for word in range(len(lengths)):
        length, count, at = lengths[word], counts[word], starts[word]
        if 2 * (n[N_PAIRS] + length) > len(slots):
            slots = rehashed(slots)
        pairs = grown(pairs, n[N_PAIRS] + length)
        for i in range(at, at + length):
            tokens[symbols[i], COUNT] += count
            if i == at:
                continue
            pair = _pair_of(symbols[i - 1], symbols[i], slots, pairs, n)
            pairs[pair, PAIR_COUNT] += count
            _note_word(pair, word, pairs, nodes, n)
    heap = grown(state.heap, n[N_PAIRS])
    for pair in range(n[N_PAIRS]):
        n[N_HEAP] = heap_push(heap, n[N_HEAP], pairs[pair, PAIR_COUNT], pairs[pair, KEY])
    return State(
        symbols, starts, lengths, counts, slots, pairs, nodes, heap, tokens, state.touched,
        state.token_slots, state.arena, state.merges, state.events, n,
    )  # fmt: skip


@njit(cache=True, nogil=True)
@no_type_check
def merge_until(state, n_visible, max_merges, min_frequency, max_bytes, scaffold, ask):
    """Merge until so many tokens are visible or so many merges made, or nothing is left.

    Args:
        state: where to go on.
        n_visible: tokens that are no scaffold, base tokens included.
        max_merges: of this call and all before it.
        min_frequency: a pair that occurs less often is not merged.
        max_bytes: length of the longest token made, inclusive.
        scaffold: whether tokens that would not be chosen again leave the vocabulary.
        ask: whether to stop at every pair whose verdict is open, with status ASKS.
    """
    n = state.n
    n[STATUS] = REACHED
    while n[N_VISIBLE] < n_visible and n[N_MERGES] < max_merges:
        state = with_room(state)
        heap, pairs = state.heap, state.pairs
        if not _settle_top(heap, state.slots, pairs, state.tokens, n):
            n[STATUS] = EXHAUSTED
            return state
        count, key = heap[0, 0], heap[0, 1]
        if count < min_frequency:
            n[STATUS] = EXHAUSTED
            return state
        if key < 0:
            n[N_HEAP] = heap_pop(heap, n[N_HEAP])
            _restore(key - _TOKEN_ENTRY, state.tokens, state.events, n)
            continue
        pair = find_pair(state.slots, key)
        if ask and pairs[pair, VERDICT] == 0:
            n[STATUS], n[CANDIDATE] = ASKS, pair
            return state
        n[N_HEAP] = heap_pop(heap, n[N_HEAP])
        if pairs[pair, VERDICT] == BLOCKED:
            pairs[pair, PAIR_COUNT] = 0
            continue
        merge_pair(state, pair, max_bytes)
        if scaffold:
            _judge_children(state, key >> 32, key & 0xFFFFFFFF)
    return state


@njit(cache=True, nogil=True)
@no_type_check
def with_room(state):
    """The state with arrays that one merge cannot overflow."""
    n, n_tokens = state.n, state.n[N_TOKENS]
    slots, touched, token_slots = state.slots, state.touched, state.token_slots
    n_new = 2 * n_tokens + 4
    while 2 * (n[N_PAIRS] + n_new) > len(slots):
        slots = rehashed(slots)
    if 2 * (n_tokens + 1) > len(token_slots):
        token_slots = _tokens_rehashed(token_slots, state.tokens, n_tokens)
    if n_tokens + 1 > touched.shape[1]:
        touched = np.empty((2, 2 * (n_tokens + 1)), np.int32)
    return State(
        state.symbols, state.starts, state.lengths, state.counts, slots,
        grown(state.pairs, n[N_PAIRS] + n_new), state.nodes, grown(state.heap, n[N_HEAP] + n_new),
        grown(state.tokens, n_tokens + 1), touched, token_slots,
        grown(state.arena, n[N_BYTES] + 65536), grown(state.merges, n[N_MERGES] + 1),
        grown(state.events, n[N_EVENTS] + 4), n,
    )  # fmt: skip


@njit(cache=True, nogil=True)
@no_type_check
def _settle_top(heap, slots, pairs, tokens, n):
    """Bring the best entry that is up to date to the top; False where none is left."""
    while n[N_HEAP] > 0:
        count, key = heap[0, 0], heap[0, 1]
        if key < 0:
            token = key - _TOKEN_ENTRY
            if tokens[token, STANDING] == SCAFFOLD and tokens[token, COUNT] == count:
                return True
            n[N_HEAP] = heap_pop(heap, n[N_HEAP])
            continue
        now = pairs[find_pair(slots, key), PAIR_COUNT]
        if now == count:
            return True
        if now <= 0 or now > count:  # an entry with a higher count stands elsewhere in the heap
            n[N_HEAP] = heap_pop(heap, n[N_HEAP])
        else:
            heap_replace_top(heap, n[N_HEAP], now, key)
    return False


@njit(cache=True, nogil=True)
@no_type_check
def merge_pair(state, pair, max_bytes):
    """Make a pair one token in every word."""
    pairs, tokens, n, slots = state.pairs, state.tokens, state.n, state.slots
    key = pairs[pair, KEY]
    left, right = key >> 32, key & 0xFFFFFFFF
    result = _result_of(state, left, right)
    state.merges[n[N_MERGES]] = left, right, result
    n[N_MERGES] += 1
    n_left, n_right, made = _rewrite_words(state, pair, left, right, result, max_bytes)
    tokens[result, COUNT] += made
    tokens[result, MADE] += made
    tokens[left, COUNT] -= made
    tokens[right, COUNT] -= made
    touched = state.touched
    for k in range(n_left):
        other = touched[0, k]
        change = tokens[other, LEFT_CHANGE]
        _change(other << 32 | left, -change, slots, pairs)
        if tokens[other, LEFT_PAIR] >= 0:
            pairs[tokens[other, LEFT_PAIR], PAIR_COUNT] += change
    for k in range(n_right):
        other = touched[1, k]
        change = tokens[other, RIGHT_CHANGE]
        _change(right << 32 | other, -change, slots, pairs)
        if tokens[other, RIGHT_PAIR] >= 0:
            pairs[tokens[other, RIGHT_PAIR], PAIR_COUNT] += change
    pairs[pair, PAIR_COUNT] = 0
    for side in range(2):
        for k in range(n_left if side == 0 else n_right):
            other = touched[side, k]
            changed = tokens[other, LEFT_PAIR + side]
            if changed >= 0 and pairs[changed, PAIR_COUNT] > 0:
                count, changed_key = pairs[changed, PAIR_COUNT], pairs[changed, KEY]
                n[N_HEAP] = heap_push(state.heap, n[N_HEAP], count, changed_key)
            tokens[other, LEFT_CHANGE + side] = 0
            tokens[other, LEFT_PAIR + side] = _UNSEEN


@njit(cache=True, nogil=True)
@no_type_check
def _rewrite_words(state, pair, left, right, result, max_bytes):
    """Replace the pair in its words; sums changes of neighbouring pairs in ``tokens``.

    Returns the numbers of tokens seen to the left and to the right, and the replacements made,
    which are fewer than the pair's count where it overlaps itself.
    """
    symbols, nodes, pairs = state.symbols, state.nodes, state.pairs
    made, n_left, n_right = 0, 0, 0
    node = pairs[pair, HEAD]
    while node >= 0:
        word, node = nodes[node, 0], nodes[node, 1]
        at, count = state.starts[word], state.counts[word]
        end = at + state.lengths[word]
        out, i = at, at
        while i < end:
            if i + 1 == end or symbols[i] != left or symbols[i + 1] != right:
                symbols[out] = symbols[i]
                out, i = out + 1, i + 1
                continue
            if out > at:
                n_left += _touch(state, 0, symbols[out - 1], result, n_left, word, count, max_bytes)
            if i + 2 < end:
                n_right += _touch(state, 1, symbols[i + 2], result, n_right, word, count, max_bytes)
            symbols[out] = result
            out, i = out + 1, i + 2
            made += count
        state.lengths[word] = out - at
    return n_left, n_right, made


@njit(cache=True, nogil=True)
@no_type_check
def _touch(state, side, other, result, n_touched, word, count, max_bytes):
    """Note a neighbour of a new token in a word; returns 1 at its first time in this merge."""
    tokens, n = state.tokens, state.n
    is_first = tokens[other, LEFT_PAIR + side] == _UNSEEN
    if is_first:
        state.touched[side, n_touched] = other
        if tokens[other, LENGTH] + tokens[result, LENGTH] > max_bytes:
            tokens[other, LEFT_PAIR + side] = _TOO_LONG
        elif side == 0:
            new = _pair_of(other, result, state.slots, state.pairs, n)
            tokens[other, LEFT_PAIR] = new
        else:
            new = _pair_of(result, other, state.slots, state.pairs, n)
            tokens[other, RIGHT_PAIR] = new
    tokens[other, LEFT_CHANGE + side] += count
    if tokens[other, LEFT_PAIR + side] >= 0:
        _note_word(tokens[other, LEFT_PAIR + side], word, state.pairs, state.nodes, n)
    return 1 if is_first else 0


@njit(cache=True, nogil=True)
@no_type_check
def _judge_children(state, left, right):
    """Scaffold-BPE: a child that would not be chosen next loses its place in the vocabulary."""
    tokens, n = state.tokens, state.n
    for side in range(2):
        child = left if side == 0 else right
        if (side == 1 and left == right) or tokens[child, STANDING] == BASE:
            continue
        count = tokens[child, COUNT]
        if tokens[child, STANDING] == NORMAL:
            has_head = _settle_top(state.heap, state.slots, state.pairs, tokens, n)
            if not has_head or count >= state.heap[0, 0]:
                continue
            tokens[child, STANDING] = SCAFFOLD
            n[N_VISIBLE] -= 1
            _log(BECAME_SCAFFOLD, child, state.events, n)
        if count > 0:
            n[N_HEAP] = heap_push(state.heap, n[N_HEAP], count, child + _TOKEN_ENTRY)


@njit(cache=True, nogil=True)
@no_type_check
def _restore(token, tokens, events, n):
    tokens[token, STANDING] = NORMAL
    n[N_VISIBLE] += 1
    _log(RESTORED, token, events, n)


@njit(cache=True, nogil=True)
@no_type_check
def _result_of(state, left, right):
    """The token that a pair makes: one with the same bytes if there is one, else a new one."""
    tokens, arena, n = state.tokens, state.arena, state.n
    at, length = n[N_BYTES], tokens[left, LENGTH] + tokens[right, LENGTH]
    middle = at + tokens[left, LENGTH]
    arena[at:middle] = arena[tokens[left, START] : tokens[left, START] + tokens[left, LENGTH]]
    arena[middle : at + length] = arena[
        tokens[right, START] : tokens[right, START] + tokens[right, LENGTH]
    ]
    hashed = hash_of(arena, at, length)
    slot = find_token(state.token_slots, tokens, arena, at, length, hashed)
    token = np.int64(state.token_slots[slot])
    if token >= 0:
        _log(MADE_ALTERNATIVE, token, state.events, n)
        if tokens[token, STANDING] == SCAFFOLD:
            _restore(token, tokens, state.events, n)
        return token
    token = n[N_TOKENS]
    state.token_slots[slot] = token
    tokens[token] = 0
    tokens[token, START], tokens[token, LENGTH], tokens[token, HASH] = at, length, hashed
    tokens[token, STANDING] = NORMAL
    tokens[token, LEFT_PAIR] = tokens[token, RIGHT_PAIR] = _UNSEEN
    n[N_TOKENS] += 1
    n[N_BYTES] += length
    n[N_VISIBLE] += 1
    _log(MADE_TOKEN, token, state.events, n)
    return token


@njit(cache=True, nogil=True)
@no_type_check
def hash_of(arena, at, length):
    """A hash of a token's bytes."""
    value = np.int64(length)
    for i in range(at, at + length):
        value = value * np.int64(1099511628211) ^ np.int64(arena[i])
    return value


@njit(cache=True, nogil=True)
@no_type_check
def _tokens_rehashed(token_slots, tokens, n_tokens):
    new = np.full(2 * len(token_slots), -1, np.int32)
    mask = len(new) - 1
    for token in range(n_tokens):
        slot = mix(tokens[token, HASH]) & mask
        while new[slot] >= 0:
            slot = (slot + 1) & mask
        new[slot] = token
    return new


@njit(cache=True, nogil=True)
@no_type_check
def _log(kind, token, events, n):
    events[n[N_EVENTS]] = kind, token, n[N_MERGES]
    n[N_EVENTS] += 1


@njit(cache=True, nogil=True)
@no_type_check
def _pair_of(left, right, slots, pairs, n):
    """Index of a pair, made if there is none."""
    key = np.int64(left) << 32 | np.int64(right)
    mask = len(slots) - 1
    slot = mix(key) & mask
    while slots[slot, 1] >= 0:
        if slots[slot, 0] == key:
            return slots[slot, 1]
        slot = (slot + 1) & mask
    pair = n[N_PAIRS]
    n[N_PAIRS] += 1
    slots[slot] = key, pair
    pairs[pair] = key, 0, -1, -1, 0
    return pair


@njit(cache=True, nogil=True)
@no_type_check
def _note_word(pair, word, pairs, nodes, n):
    """Append a word to a pair's list, unless it is there already as the last one."""
    if pairs[pair, LAST] != word:
        nodes[n[N_NODES], 0], nodes[n[N_NODES], 1] = word, pairs[pair, HEAD]
        pairs[pair, HEAD], pairs[pair, LAST] = n[N_NODES], word
        n[N_NODES] += 1


@njit(cache=True, nogil=True)
@no_type_check
def _change(key, change, slots, pairs):
    """Add to the count of a pair; pairs that would be too long are not kept."""
    pair = find_pair(slots, key)
    if pair >= 0:
        pairs[pair, PAIR_COUNT] += change


@njit(cache=True, nogil=True)
@no_type_check
def enter_tokens(token_slots, tokens, arena):
    """Enter base tokens into the table by bytes; of equal ones the first stands."""
    for token in range(len(tokens)):
        start, length = tokens[token, START], tokens[token, LENGTH]
        tokens[token, HASH] = hash_of(arena, start, length)
        slot = find_token(token_slots, tokens, arena, start, length, tokens[token, HASH])
        if token_slots[slot] < 0:
            token_slots[slot] = token
