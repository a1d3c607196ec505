"""What the tokens of a vocabulary are: how long, of which kind, with a leading space or not.

Dimensions: V = vocabulary, K = kinds.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import regex
from jaxtyping import Bool, Int8, Int64

from tasks.shared.vocabulary_record import Vocabulary
from tasks.tokenizer.metric_table import VOCABULARY_SUITE, Metric, metrics_table

KINDS = (
    "letters",
    "digits",
    "punctuation",
    "whitespace",
    "control",
    "mixed",
    "fragment",
    "no_text",
)
"""A fragment is no valid UTF-8 by itself; special tokens and unassigned ids are no text."""

_MIXED, _FRAGMENT, _NO_TEXT = (KINDS.index(kind) for kind in KINDS[-3:])
_PATTERN = regex.compile(
    r"(?P<space> (?=\S))?"
    r"(?:(?P<letters>[\p{L}\p{M}]+)|(?P<digits>\p{N}+)|(?P<punctuation>[\p{P}\p{S}]+)"
    r"|(?P<whitespace>\s+)|(?P<control>\p{C}+)|(?P<mixed>.+))",
    regex.DOTALL,
)


@dataclass(frozen=True)
class TokenKinds:
    """Facts by id.

    Attributes:
        codes: place in ``KINDS``, of what follows a leading space.
        leading_space: whether the token is one space and then something else.
        n_bytes: length; 0 for what is no text.
    """

    codes: Int8[np.ndarray, " V"]
    leading_space: Bool[np.ndarray, " V"]
    n_bytes: Int64[np.ndarray, " V"]

    @property
    def is_text(self) -> Bool[np.ndarray, " V"]:
        """Whether an id stands for bytes."""
        return self.codes != _NO_TEXT

    @property
    def is_fragment(self) -> Bool[np.ndarray, " V"]:
        """Whether a token is no valid UTF-8 by itself: a part of a character, or more."""
        return self.codes == _FRAGMENT


def find_kinds(vocabulary: Vocabulary) -> TokenKinds:
    """Look at each token by itself."""
    found = [_kind_of(data) for data in vocabulary.token_bytes]
    lengths = [len(data or b"") for data in vocabulary.token_bytes]
    return TokenKinds(
        codes=np.array([kind for kind, _ in found], dtype=np.int8),
        leading_space=np.array([space for _, space in found], dtype=np.bool_),
        n_bytes=np.array(lengths, dtype=np.int64),
    )


def kinds_table(kinds: TokenKinds) -> pa.Table:
    """Count the tokens of each kind, those with a leading space apart.

    Returns:
        Columns kind, leading_space, n_tokens and share (of all ids); no row where there are none.
    """
    cells = np.stack([kinds.codes, kinds.leading_space], axis=1).astype(np.int64)
    pairs_K2, counts_K = np.unique(cells, axis=0, return_counts=True)
    return pa.table(
        {
            "kind": pa.array([KINDS[kind] for kind in pairs_K2[:, 0]], pa.string()),
            "leading_space": pa.array(pairs_K2[:, 1].astype(np.bool_), pa.bool_()),
            "n_tokens": pa.array(counts_K, pa.int64()),
            "share": pa.array(counts_K / max(1, len(cells)), pa.float64()),
        }
    )


def length_histogram(kinds: TokenKinds) -> Int64[np.ndarray, " L"]:
    """Count the tokens of each length in bytes, from 0 to the longest."""
    return np.bincount(kinds.n_bytes[kinds.is_text], minlength=1).astype(np.int64)


def longest_ids(kinds: TokenKinds, n_listed: int) -> Int64[np.ndarray, " N"]:
    """Name the longest tokens, of equal ones the lower ids first."""
    order = np.argsort(-kinds.n_bytes, kind="stable")
    return order[kinds.is_text[order]][:n_listed].astype(np.int64)


def vocabulary_metrics(
    vocabularies: Mapping[str, tuple[Vocabulary, Bool[np.ndarray, " V"] | None]],
) -> pa.Table:
    """Describe vocabularies without any text.

    Args:
        vocabularies: by name, as in ``source`` and ``new``: the vocabulary, and for each id
            whether some text has it (``None``: not looked at, so no row).

    Returns:
        Rows of ``METRICS_SCHEMA`` in the suite ``VOCABULARY_SUITE``.
    """
    rows: list[Metric] = []
    for name, (vocabulary, reachable_V) in vocabularies.items():
        kinds, size = find_kinds(vocabulary), len(vocabulary)
        lengths = kinds.n_bytes[kinds.is_text]
        n = len(lengths)
        facts: list[tuple[str, float, str, int, str]] = []
        facts.append(("vocabulary_size", size, "tokens", size, "largest id plus one"))
        if n:
            facts.append(
                (
                    "mean_token_bytes",
                    float(np.mean(lengths)),
                    "bytes/token",
                    n,
                    "of ordinary tokens",
                )
            )
            facts.append(("longest_token", int(np.max(lengths)), "bytes", n, "of ordinary tokens"))
        n_broken = int(np.sum(kinds.is_fragment))
        note = "tokens that are no valid UTF-8 by themselves"
        facts.append(("invalid_utf8_tokens", n_broken, "tokens", n, note))
        if reachable_V is not None:
            n_lost = int(np.sum(~reachable_V))
            note = "ids that no text gives: unassigned, or never left by merges and words"
            facts.append(("unreachable_tokens", n_lost, "tokens", size, note))
        rows += [
            Metric(VOCABULARY_SUITE, name, metric, float(value), unit, count, note)
            for metric, value, unit, count, note in facts
        ]
    return metrics_table(rows)


def _kind_of(data: bytes | None) -> tuple[int, bool]:
    if data is None:
        return _NO_TEXT, False
    try:
        match = _PATTERN.fullmatch(data.decode())
    except UnicodeDecodeError:
        return _FRAGMENT, data.startswith(b" ") and data != b" "
    if match is None:  # no bytes at all
        return _MIXED, False
    return KINDS.index(str(match.lastgroup)), match["space"] is not None
