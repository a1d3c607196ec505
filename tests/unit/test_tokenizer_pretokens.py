"""Counting pre-tokens: by hand, against the library's pieces, sums, tables, refusals."""

import json
import random
import sysconfig
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tokenizers import Tokenizer

from tasks.shared.byte_alphabet import from_alphabet
from tasks.shared.vocabulary_file import Json
from tasks.tokenizer.errors import BrokenTextError, PretokenizerError, SourceWeightError
from tasks.tokenizer.pretoken_counts import (
    COUNTS_SCHEMA,
    PretokenCounts,
    from_table,
    merge_counts,
    to_table,
)
from tasks.tokenizer.pretokenizer import choose_pretokenizer
from tasks.tokenizer.pretokens import PretokenCounter

BYTE_LEVEL: Json = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": True,
}
WHITESPACE: Json = {"type": "WhitespaceSplit"}
METASPACE: Json = {
    "type": "Metaspace",
    "replacement": "▁",
    "prepend_scheme": "first",
    "split": True,
}
STRIP_AND_NFC: Json = {
    "type": "Sequence",
    "normalizers": [{"type": "Strip", "strip_left": True, "strip_right": True}, {"type": "NFC"}],
}
LLAMA2: Json = {
    "type": "Sequence",
    "normalizers": [
        {"type": "Prepend", "prepend": "▁"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    ],
}
TEXTS = [
    "  Die Ha\u0308user  der A\u030angstro\u0308ms\n",
    "def f(x):\n    return x[1:]  # it's 12 €\n",
    "日本語 ABC \u0301x ½",
    "",
]


def custom(regex: str) -> Json:
    return choose_pretokenizer({"pre_tokenizer": BYTE_LEVEL}, "custom", "source", regex)


def only_matches(regex: str) -> Json:
    """A cut that leaves out what is between matches."""
    cut = custom(regex)
    cut["pretokenizers"][0] |= {"behavior": "Removed", "invert": True}
    return cut


def count(
    texts: list[str], pre_tokenizer: Json | None, normalizer: Json | None = None, most: int = 256
) -> PretokenCounter:
    counter = PretokenCounter(normalizer, pre_tokenizer, most)
    counter.add(pa.array(texts, pa.string()))
    return counter


def as_dict(counts: PretokenCounts) -> dict[bytes, int]:
    words = [counts.data[a:b].tobytes() for a, b in pairwise(counts.starts)]
    assert words == sorted(set(words))
    assert counts.starts[0] == 0
    assert counts.starts[-1] == len(counts.data)
    return dict(zip(words, counts.counts.tolist(), strict=True))


def counts_of(words: dict[bytes, int]) -> PretokenCounts:
    starts = np.cumsum([0, *map(len, words)])
    data = np.frombuffer(b"".join(words), np.uint8)
    return PretokenCounts(data, starts, np.array(list(words.values()), np.int64))


def by_whole_tokenizer(
    texts: list[str], pre_tokenizer: Json | None, normalizer: Json | None = None
) -> dict[str, int]:
    """Words as they reach a model that has one token a character."""
    file = {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "model": {"type": "BPE", "vocab": {chr(i): i for i in range(0xD800)}, "merges": []},
    }
    tokenizer = Tokenizer.from_str(json.dumps(file))
    pieces = Counter[str]()
    for encoding in tokenizer.encode_batch(texts, add_special_tokens=False):
        words: dict[int | None, str] = {}
        for token, word in zip(encoding.tokens, encoding.word_ids, strict=True):
            words[word] = words.get(word, "") + token
        pieces.update(words.values())
    return pieces


def test_counts_by_hand():
    counter = count(["a b a b", "b  b\n"], BYTE_LEVEL)
    assert counter.path == "scanner"
    assert as_dict(counter.result()) == {b"\n": 1, b" ": 1, b" a": 1, b" b": 3, b"a": 1, b"b": 1}


def test_words_of_up_to_eight_bytes_are_told_apart_from_those_with_zeros():
    words = ["x", "x\0", "\0x", "xx", "\0", "\0\0", "abcdefgh", "abcdefgh\0", "abcdefgi"]
    alphabet = custom(r"[^,]+|,")
    assert as_dict(count([",".join(words)], alphabet).result()) == (
        {b",": len(words) - 1, **{word.encode(): 1 for word in words}}
    )


def test_long_words_are_dropped_and_counted():
    text = "aa bbb bbb \u00e4\u00e4\u00e4"
    counter = count([text, "ccccc"], BYTE_LEVEL, most=4)
    assert as_dict(counter.result()) == {b"aa": 1, b" bbb": 2}
    assert (counter.n_dropped, counter.n_dropped_bytes) == (2, 12)
    by_library = count([text, "ccccc"], {**BYTE_LEVEL, "add_prefix_space": True}, most=4)
    assert by_library.path == "library"
    assert as_dict(by_library.result()) == {b" aa": 1, b" bbb": 2}
    assert (by_library.n_dropped, by_library.n_dropped_bytes) == (2, 13)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
@pytest.mark.parametrize("pre_tokenizer", [BYTE_LEVEL, WHITESPACE])
def test_slices_nulls_and_nothing(kind: pa.DataType, pre_tokenizer: Json):
    counter = PretokenCounter(None, pre_tokenizer, 256)
    texts = pa.array(["no", "x", None, "", "y", "x", "no"], kind)
    counter.add(texts.slice(1, 5))
    counter.add(texts.slice(3, 0))
    counter.add(pa.array([], kind))
    counter.add(pa.array([None], kind))
    assert as_dict(counter.result()) == {b"x": 2, b"y": 1}


def test_a_null_may_hide_bytes():
    hidden = pa.StringArray.from_buffers(
        2, pa.py_buffer(np.array([0, 1, 2], np.int32)), pa.py_buffer(b"xy"), pa.py_buffer(b"\2")
    )
    counter = PretokenCounter(None, BYTE_LEVEL, 256)
    counter.add(hidden)
    assert as_dict(counter.result()) == {b"y": 1}


@pytest.mark.parametrize("name", ["gpt2", "gpt4", "llama3", "o200k", "punct"])
def test_program_text_is_counted_as_the_library_cuts_it(name: Any):
    paths = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("c*.py"))
    texts = [path.read_text(encoding="utf-8")[:20_000] for path in paths]
    pre_tokenizer = choose_pretokenizer({"pre_tokenizer": BYTE_LEVEL}, name, "groups_of_3")
    counter = count(texts, pre_tokenizer)
    pieces = by_whole_tokenizer(texts, pre_tokenizer)
    assert as_dict(counter.result()) == {from_alphabet(word): n for word, n in pieces.items()}
    assert counter.path == "scanner"


@pytest.mark.parametrize(
    ("path", "pre_tokenizer"),
    [
        ("scanner", BYTE_LEVEL),
        ("library", {**BYTE_LEVEL, "add_prefix_space": True}),
        ("library", custom(r"\p{Lu}*\p{Ll}+|\s+|[^\s\p{L}]")),
        ("library", custom(r"[aeiou]+|(?<=x)\d")),
        ("library", custom(r"\n")),
        ("library", custom(r"\s+(?!\S)|(?i)Ä")),
        ("library", only_matches(r"[a-z]+|\d")),
        ("library", custom(r"(a)|(b)+")),
    ],
)
@pytest.mark.parametrize("normalizer", [None, STRIP_AND_NFC])
def test_bytes_of_byte_level_words_are_those_of_the_text(
    path: str, pre_tokenizer: Json, normalizer: Json | None
):
    counter = count(TEXTS, pre_tokenizer, normalizer)
    pieces = by_whole_tokenizer(TEXTS, pre_tokenizer, normalizer)
    assert as_dict(counter.result()) == {from_alphabet(word): n for word, n in pieces.items()}
    assert counter.path == path


@pytest.mark.parametrize(
    ("pre_tokenizer", "normalizer"),
    [
        (METASPACE, None),
        (METASPACE, {"type": "NFKC"}),
        (WHITESPACE, None),
        (WHITESPACE, STRIP_AND_NFC),
        (None, LLAMA2),
    ],
)
def test_other_words_are_text_with_spaces_for_their_stand_in(
    pre_tokenizer: Json | None, normalizer: Json | None
):
    counter = count(TEXTS, pre_tokenizer, normalizer)
    pieces = by_whole_tokenizer(TEXTS, pre_tokenizer, normalizer)
    want = {word.replace("▁", " ").encode(): n for word, n in pieces.items()}
    assert as_dict(counter.result()) == want
    assert counter.path == "library"


def test_no_byte_is_lost():
    draw = random.Random(0)
    texts = ["".join(draw.choices("ab1 \n'é漢!", k=draw.randint(0, 99))) for _ in range(300)]
    for pre_tokenizer in (BYTE_LEVEL, custom("[ab]+")):
        counter = count(texts, pre_tokenizer, most=6)
        total = sum(len(word) * n for word, n in as_dict(counter.result()).items())
        assert total + counter.n_dropped_bytes == sum(len(text.encode()) for text in texts)


def test_tables_grow_without_loss():
    draw = random.Random(1)
    words = ["".join(draw.choices("abc", k=draw.randint(1, 14))) for _ in range(60_000)]
    counter = PretokenCounter(None, custom("[a-c]+|,"), 256)
    for first in range(0, len(words), 20_000):
        counter.add(pa.array([",".join(words[first : first + 20_000])]))
    want = Counter(word.encode() for word in words)
    assert len(want) > 1 << 14
    assert as_dict(counter.result()) == {**want, b",": len(words) - 3}
    spaced = count([" ".join(words)], BYTE_LEVEL).result()
    assert sum(spaced.counts) == len(words)
    assert as_dict(spaced).keys() <= {b" " + word for word in want} | {words[0].encode()}


def test_counters_in_threads_do_not_disturb_each_other():
    texts = [[f"word{i % n} of {n}" for i in range(3000)] for n in (7, 11, 13, 17)]
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(lambda some: as_dict(count(some, BYTE_LEVEL).result()), texts))
    assert threaded == [as_dict(count(some, BYTE_LEVEL).result()) for some in texts]


def test_text_that_is_no_utf8_is_refused():
    offsets, data = np.array([0, 1, 3], np.int32), b"a\xc3("
    texts = pa.StringArray.from_buffers(2, pa.py_buffer(offsets), pa.py_buffer(data))
    counter = PretokenCounter(None, BYTE_LEVEL, 256)
    with pytest.raises(BrokenTextError, match="UTF-8"):
        counter.add(texts)
    assert as_dict(counter.result()) == {}


def test_a_part_after_byte_level_that_writes_other_characters_is_refused():
    both = {"type": "Sequence", "pretokenizers": [BYTE_LEVEL, {**METASPACE, "replacement": "漢"}]}
    with pytest.raises(PretokenizerError, match="ByteLevel must be the last"):
        count(["a b"], both)


A = counts_of({b"a": 3, b"b": 1})
B = counts_of({b"": 2, b"a": 5, b"\xff": 1})


def test_sums_by_hand():
    assert as_dict(merge_counts([A, B], None)) == {b"": 2, b"a": 8, b"b": 1, b"\xff": 1}
    # a: 0.5 * 3 + 2 * 5 = 11.5, to the even 12; b: 0.5, to 0, left out.
    assert as_dict(merge_counts([A, B], [0.5, 2.0])) == {b"": 4, b"a": 12, b"\xff": 2}
    assert as_dict(merge_counts([A, B], [1.0, 0.0])) == {b"a": 3, b"b": 1}
    assert as_dict(merge_counts([], None)) == {}


def test_a_sum_of_shards_is_the_count_of_all():
    shards = [TEXTS[:2], TEXTS[2:], TEXTS[1:3]]
    parts = [count(shard, BYTE_LEVEL).result() for shard in shards]
    whole = as_dict(count([text for shard in shards for text in shard], BYTE_LEVEL).result())
    assert as_dict(merge_counts(iter(parts), None)) == whole
    assert as_dict(merge_counts(parts, [1.0, 1.0, 1.0])) == whole


def test_counts_beyond_float_precision_add_exactly():
    large = counts_of({b"the": 2**53})
    assert as_dict(merge_counts([large, counts_of({b"the": 1})], None)) == {b"the": 2**53 + 1}


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_weights_that_count_nothing_are_refused(weight: float):
    with pytest.raises(SourceWeightError, match="from 0 up"):
        merge_counts([A, B], [1.0, weight])


def test_tables_keep_sources_apart_and_add_their_rows():
    table = pa.concat_tables([to_table("x", A), to_table("y", B), to_table("x", B)])
    assert table.schema == COUNTS_SCHEMA
    read = from_table(table)
    assert list(read) == ["x", "y"]
    assert as_dict(read["x"]) == as_dict(merge_counts([A, B], None))
    assert as_dict(read["y"]) == as_dict(B)
    assert from_table(COUNTS_SCHEMA.empty_table()) == {}
