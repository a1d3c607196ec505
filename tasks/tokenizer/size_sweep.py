"""What every smaller size of a learnt vocabulary would have been worth, from one training.

The first merges of a BPE vocabulary are those of any smaller one, so that one merge list and one
pass over the words of held-out text answer for all sizes. Scaffold-BPE has no such property.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Int32, Int64

from tasks.shared.model_shape import ModelShape
from tasks.shared.vocabulary_record import Vocabulary
from tasks.tokenizer.merge_loop import Words
from tasks.tokenizer.pretokens import PretokenCounter
from tasks.tokenizer.recut import has_long_words, recut
from tasks.tokenizer.residue import ids_of_bytes, prefix_token_counts
from tasks.tokenizer.vocabulary_size import SizeChoice, choose_size
from tasks.tokenizer.word_rule import WordRule

_N_SIZES = 16
_CONTEXT_BYTES = 32_768
_BYTES_PER_VALUE = 2
_ANY_LENGTH = 1 << 40


@dataclass(frozen=True)
class Sweep:
    """Which prefixes of the merge list are vocabularies of their own.

    Attributes:
        vocabulary: the whole one.
        n_kept_merges: merges that every size has: the source's own, where it was extended.
        n_kept_tokens: tokens that every size has: bytes, special tokens, the source's.
    """

    vocabulary: Vocabulary
    n_kept_merges: int
    n_kept_tokens: int


def sweep_sizes(
    sweep: Sweep,
    rule: WordRule,
    texts: Sequence[str],
    n_source_tokens: int,
    shape: ModelShape,
) -> SizeChoice:
    """Reckon the cost of smaller sizes on held-out text.

    Args:
        sweep: what may vary.
        rule: how text is cut into words.
        texts: held-out texts.
        n_source_tokens: tokens of these texts under the source tokenizer.
        shape: the model's.

    Raises:
        SizesError: there is no text.
    """
    counter = PretokenCounter(rule.normalizer, rule.pre_tokenizer, _ANY_LENGTH)
    counter.add(pa.array(texts, pa.large_string()))
    words = counter.result()
    vocabulary = sweep.vocabulary
    merges_M3 = np.array(vocabulary.merges, np.int32).reshape(-1, 3)
    sizes_M1 = _sizes_by_prefix(merges_M3, sweep)
    prefixes_S = _prefixes(sizes_M1, sweep)
    as_ids = Words(ids_of_bytes(vocabulary)[words.data], words.starts, words.counts)
    n_tokens_S = _count_tokens(as_ids, merges_M3, prefixes_S, len(vocabulary))
    n_bytes = sum(len(text.encode()) for text in texts)
    return choose_size(
        sizes_M1[prefixes_S], n_tokens_S, n_source_tokens, n_bytes, shape, _CONTEXT_BYTES,
        _BYTES_PER_VALUE,
    )  # fmt: skip


def _count_tokens(
    words: Words,
    merges_M3: Int32[np.ndarray, "M 3"],
    prefixes_S: Int64[np.ndarray, " S"],
    n_ids: int,
) -> Int64[np.ndarray, " S"]:
    """Tokens of all words under each prefix of the merges."""
    if not has_long_words(words):
        return prefix_token_counts(words.symbols, words.starts, words.counts, merges_M3, prefixes_S)
    n_tokens = list[int]()
    for n_merges in prefixes_S.tolist():
        # A word under some merges goes on to what it is under more of them.
        words = recut(words, merges_M3[:n_merges], n_ids).words
        n_tokens.append(int(np.diff(words.starts) @ words.counts))
    return np.array(n_tokens, np.int64)


def _sizes_by_prefix(merges_M3: np.ndarray, sweep: Sweep) -> Int64[np.ndarray, " M1"]:
    """Size of the vocabulary after each number of merges; an alternative merge adds no token."""
    made = merges_M3[sweep.n_kept_merges :, 2]
    is_first = np.zeros(len(made), np.bool_)
    is_first[np.unique(made, return_index=True)[1]] = True
    kept = np.full(sweep.n_kept_merges + 1, sweep.n_kept_tokens, np.int64)
    return np.concatenate([kept, sweep.n_kept_tokens + np.cumsum(is_first)])


def _prefixes(sizes_M1: Int64[np.ndarray, " M1"], sweep: Sweep) -> Int64[np.ndarray, " S"]:
    """Numbers of merges of sizes that grow by equal factors in what was learnt."""
    n_learnt = int(sizes_M1[-1]) - sweep.n_kept_tokens
    wanted = np.geomspace(1, n_learnt + 1, _N_SIZES) - 1 + sweep.n_kept_tokens
    return np.unique(np.searchsorted(sizes_M1[sweep.n_kept_merges :], np.ceil(wanted))).astype(
        np.int64
    ) + np.int64(sweep.n_kept_merges)
