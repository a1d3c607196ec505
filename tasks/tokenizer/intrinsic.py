"""What a tokenizer makes of text, in numbers that need no model.

They describe and do not judge: what a model makes of the tokens is measured elsewhere.

Dimension: V = vocabulary.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from tasks.shared.text_tokenizer import TextTokenizer
from tasks.shared.vocabulary_record import Vocabulary
from tasks.tokenizer.entropies import renyi_entropy, shannon_entropy
from tasks.tokenizer.id_counts import count_ids
from tasks.tokenizer.metric_table import Metric, metrics_table
from tasks.tokenizer.text_words import Words, count_kept_whole, count_split, find_words

ALPHA = 2.5
"""Of the Renyi efficiency."""


@dataclass(frozen=True)
class CountedTokens:
    """A tokenizer, and how often some texts have each of its ids."""

    tokenizer: TextTokenizer
    vocabulary: Vocabulary
    counts: Int64[np.ndarray, " V"]

    @property
    def n_tokens(self) -> int:
        """All occurrences."""
        return int(np.sum(self.counts))


def count_tokens_of(
    tokenizer: TextTokenizer, vocabulary: Vocabulary, texts: Sequence[str]
) -> CountedTokens:
    """Cut texts with a tokenizer and count."""
    return CountedTokens(tokenizer, vocabulary, count_ids(tokenizer, texts, len(vocabulary)))


def intrinsic_metrics(
    suite: str,
    texts: Sequence[str],
    counted: Mapping[str, CountedTokens],
    rare_below: int | None = None,
) -> pa.Table:
    """Measure tokenizers on the same texts, side by side.

    Args:
        suite: name of the texts.
        texts: documents, as they were before any normaliser.
        counted: by name, as in ``source`` and ``new``, each counted on these texts. The first is
            the one that sequence lengths are compared with.
        rare_below: a token that occurs less often is rare; ``None`` asks for no such row, as for a
            text so short that nearly all are.

    Returns:
        Rows of ``METRICS_SCHEMA``. A metric that would divide by nothing has no row: a text
        without a word has no tokens a word.
    """
    words = find_words(texts)
    base_name, base = next(iter(counted.items()))
    rows: list[Metric] = []
    for name, one in counted.items():
        found = [*_of_lengths(texts, words, one), *_of_words(words, one), *_of_use(one, rare_below)]
        if one is not base:
            note = f"normalised sequence length: tokens / tokens of {base_name}"
            found.append(_Quotient("nsl", one.n_tokens, base.n_tokens, "ratio", len(texts), note))
        rows += [quotient.to_metric(suite, name) for quotient in found if quotient.denominator]
    return metrics_table(rows)


@dataclass(frozen=True)
class _Quotient:
    metric: str
    numerator: int | float
    denominator: int | float
    unit: str
    n: int
    note: str

    def to_metric(self, suite: str, tokenizer: str) -> Metric:
        value = self.numerator / self.denominator
        return Metric(suite, tokenizer, self.metric, value, self.unit, self.n, self.note)


def _of_lengths(texts: Sequence[str], words: Words, one: CountedTokens) -> Iterator[_Quotient]:
    n, n_words = one.n_tokens, words.n_words
    n_bytes, n_characters = sum(len(text.encode()) for text in texts), sum(map(len, texts))
    note = "UTF-8 bytes of the text / tokens"
    yield _Quotient("bytes_per_token", n_bytes, n, "bytes/token", n, note)
    note = "characters of the text / tokens"
    yield _Quotient("characters_per_token", n_characters, n, "characters/token", n, note)
    note = r"tokens of the whole text / words; word = \w+"
    yield _Quotient("fertility", n, n_words, "tokens/word", n_words, note)


def _of_words(words: Words, one: CountedTokens) -> Iterator[_Quotient]:
    n, n_distinct = words.n_words, len(words.distinct)
    note = "words of several tokens / words; each alone, behind a space where the text has one"
    yield _Quotient("words_split", count_split(one.tokenizer, words), n, "share", n, note)
    for metric, leading_space, place in (
        ("strr_leading_space", True, "behind a space"),
        ("strr_no_space", False, "with no space before"),
    ):
        kept = count_kept_whole(one.tokenizer, words, leading_space=leading_space)
        note = f"distinct words that are one token {place} / distinct words"
        yield _Quotient(metric, kept, n_distinct, "share", n_distinct, note)


def _of_use(one: CountedTokens, rare_below: int | None) -> Iterator[_Quotient]:
    n, size = one.n_tokens, len(one.vocabulary)
    if n:
        entropy = shannon_entropy(one.counts)
        yield _Quotient("shannon_entropy", entropy, 1, "bits", n, "of the tokens' frequencies")
        note = f"alpha={ALPHA:g}, |V|={size}"
        entropy = renyi_entropy(one.counts, ALPHA)
        yield _Quotient("renyi_efficiency", entropy, np.log2(size), "share", n, note)
    is_ordinary_V = np.array([data is not None for data in one.vocabulary.token_bytes])
    counts = one.counts[is_ordinary_V]
    note = "ordinary tokens that the text has / ordinary tokens"
    n_used = int(np.sum(counts > 0))
    yield _Quotient("vocabulary_used", n_used, len(counts), "share", len(counts), note)
    if rare_below is not None:
        n_rare = int(np.sum(counts < rare_below))
        note = f"ordinary tokens that the text has less than {rare_below} times"
        yield _Quotient("rare_tokens", n_rare, 1, "tokens", len(counts), note)
