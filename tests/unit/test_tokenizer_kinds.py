"""Kinds, lengths and validity of tokens."""

import numpy as np
import pytest

from tasks.shared.vocabulary import Vocabulary
from tasks.tokenizer.metric_table import METRICS_SCHEMA
from tasks.tokenizer.token_kinds import (
    KINDS,
    find_kinds,
    kinds_table,
    length_histogram,
    longest_ids,
    vocabulary_metrics,
)

TOKENS: list[bytes | None] = [
    None, b"ab", b" ab", b" ", b"  ", b"12", b" 1a", b"\xc3", b" \xc3", "ü".encode(), b"",
]  # fmt: skip


def vocabulary_of(tokens: list[bytes | None]) -> Vocabulary:
    texts = tuple(f"t{i}" for i in range(len(tokens)))
    return Vocabulary(tuple(tokens), texts, {"t0": 0}, {})


@pytest.mark.parametrize(
    ("text", "kind", "leading_space"),
    [
        ("Größe", "letters", False),
        (" e\u0301", "letters", True),
        ("日本", "letters", False),
        ("٣½2", "digits", False),
        (" 12", "digits", True),
        (" --€", "punctuation", True),
        ("\n\t ", "whitespace", False),
        (" ", "whitespace", False),
        (" \n", "whitespace", False),
        ("  x", "mixed", False),
        (" x1", "mixed", True),
        ("'s", "mixed", False),
        ("\x00", "control", False),
        ("x\n", "mixed", False),
    ],
)
def test_the_kind_of_a_text(text: str, kind: str, leading_space: bool):
    kinds = find_kinds(vocabulary_of([text.encode()]))
    assert (KINDS[kinds.codes[0]], bool(kinds.leading_space[0])) == (kind, leading_space)


def test_what_is_no_text_has_its_own_kinds():
    kinds = find_kinds(vocabulary_of(TOKENS))
    assert kinds.is_text.tolist() == [False] + [True] * 10
    assert np.flatnonzero(kinds.is_fragment).tolist() == [7, 8]
    assert kinds.leading_space.tolist() == [i in (2, 6, 8) for i in range(11)]
    assert kinds.n_bytes.tolist() == [0, 2, 3, 1, 2, 2, 3, 1, 2, 2, 0]


def test_kinds_are_counted_with_the_leading_space_apart():
    rows = kinds_table(find_kinds(vocabulary_of(TOKENS))).to_pylist()
    assert {(row["kind"], row["leading_space"]): row["n_tokens"] for row in rows} == {
        ("letters", False): 2, ("letters", True): 1, ("digits", False): 1,
        ("whitespace", False): 2, ("mixed", False): 1, ("mixed", True): 1,
        ("fragment", False): 1, ("fragment", True): 1, ("no_text", False): 1,
    }  # fmt: skip
    assert sum(row["share"] for row in rows) == pytest.approx(1)


def test_lengths_are_of_what_is_text():
    kinds = find_kinds(vocabulary_of(TOKENS))
    assert length_histogram(kinds).tolist() == [1, 2, 5, 2]
    assert longest_ids(kinds, 3).tolist() == [2, 6, 1]
    assert longest_ids(kinds, 99).tolist() == [2, 6, 1, 4, 5, 8, 9, 3, 7, 10]


def test_a_vocabulary_is_described_beside_another():
    old, new = vocabulary_of([None, b"a"]), vocabulary_of(TOKENS)
    reachable = np.array([True] * 9 + [False] * 2)
    table = vocabulary_metrics({"source": (old, None), "new": (new, reachable)})
    assert table.schema == METRICS_SCHEMA
    assert set(table["suite"].to_pylist()) == {"vocabulary"}
    found = {(row["tokenizer"], row["metric"]): row["value"] for row in table.to_pylist()}
    assert found == {
        ("source", "vocabulary_size"): 2,
        ("source", "mean_token_bytes"): 1,
        ("source", "longest_token"): 1,
        ("source", "invalid_utf8_tokens"): 0,
        ("new", "vocabulary_size"): 11,
        ("new", "mean_token_bytes"): 1.8,
        ("new", "longest_token"): 3,
        ("new", "invalid_utf8_tokens"): 2,
        ("new", "unreachable_tokens"): 2,
    }


def test_a_vocabulary_of_nothing_but_special_tokens_has_no_lengths():
    kinds = find_kinds(vocabulary_of([None]))
    assert length_histogram(kinds).tolist() == [0]
    assert longest_ids(kinds, 5).tolist() == []
    metrics = vocabulary_metrics({"a": (vocabulary_of([None]), None)})
    assert metrics["metric"].to_pylist() == ["vocabulary_size", "invalid_utf8_tokens"]
