"""Compiled scanners: they cut where the tokenizers library cuts with the same JSON."""

import json
import random
import sysconfig
from functools import cache
from itertools import pairwise, product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from tokenizers import Regex, pre_tokenizers

from tasks.shared.vocabulary_file import Json
from tasks.tokenizer.cutters import load_parts
from tasks.tokenizer.patterns import Digits, PatternName
from tasks.tokenizer.pretokenizer import choose_pretokenizer
from tasks.tokenizer.scan_kernels import cut_texts
from tasks.tokenizer.scan_plan import plan_scan
from tasks.tokenizer.unicode_classes import KINDS, NUMBER, class_table

BYTE_LEVEL: Json = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": True,
}
GPT2: Json = {"pre_tokenizer": BYTE_LEVEL}
BY_REGEX: dict[str, Json] = {
    f"{name} {digits}": choose_pretokenizer(GPT2, name, digits)
    for name, digits in product(get_args(PatternName), get_args(Digits))
}
WORDS = {
    "gpt2": BYTE_LEVEL,
    **{name: BY_REGEX[f"{name} none"] for name in ("gpt4", "llama3", "o200k")},
}
NUMBERS_FIRST: dict[str, Json] = {
    f"{rule} before {name}": choose_pretokenizer({"pre_tokenizer": words}, "source", rule)
    for rule, (name, words) in product(get_args(Digits)[:2], WORDS.items())
}
ALL = {"byte level": BYTE_LEVEL, **BY_REGEX, **NUMBERS_FIRST}
FLORES = Path("../shared/data")


def scanned(pre_tokenizer: Json, text: str) -> list[str]:
    plan = plan_scan(pre_tokenizer)
    assert plan is not None
    data = np.frombuffer(text.encode(), np.uint8)
    starts = np.empty(len(data) + 1, np.int64)
    rule = (plan.classes, plan.family, plan.max_digits, plan.apart)
    n_cut, *_ = cut_texts(data, np.array([0, len(data)]), 0, 0, *rule, starts)
    cuts = starts[: n_cut + 1].tolist()
    return [bytes(data[a:b]).decode() for a, b in pairwise(cuts)]


@cache
def library_words(pre_tokenizer: str) -> Any:
    return load_parts(None, json.loads(pre_tokenizer))[1]


def by_library(pre_tokenizer: Json, text: str) -> list[str]:
    words = library_words(json.dumps(pre_tokenizer))
    return [text[start:end] for _, (start, end) in words.pre_tokenize_str(text)]


def assert_same(pre_tokenizer: Json, text: str):
    ours, theirs = scanned(pre_tokenizer, text), by_library(pre_tokenizer, text)
    wrong = next((k for k, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), 0)
    assert ours == theirs, (ours[wrong - 2 : wrong + 3], theirs[wrong - 2 : wrong + 3])


def all_code_points() -> np.ndarray:
    points = np.arange(len(class_table(False)))
    return points[(points < 0xD800) | (points >= 0xE000)]


def test_classes_are_those_of_the_library_at_every_code_point():
    points, bits = all_code_points(), np.array([bits for _, bits in KINDS.values()])
    kinds = (class_table(False)[points][:, None] == bits).argmax(axis=1)
    order = np.argsort(kinds, kind="stable")
    text = "".join(map(chr, points[order]))
    one_of_each = "|".join(f"{regex}+" for regex, _ in KINDS.values())
    runs = pre_tokenizers.Split(Regex(one_of_each), "isolated").pre_tokenize_str(text)
    ends = [end for _, (_, end) in runs]
    assert ends == np.bincount(kinds, minlength=len(bits)).cumsum().tolist()


def test_numbers_are_those_of_digits_at_every_code_point():
    points = all_code_points()
    is_number = class_table(True)[points] == NUMBER
    text = "".join(map(chr, points[np.argsort(is_number, kind="stable")]))
    runs = pre_tokenizers.Digits(individual_digits=False).pre_tokenize_str(text)
    assert [end for _, (_, end) in runs] == [len(points) - is_number.sum(), len(points)]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("gpt2 none", "I|'ll| see| 1234|,|   | x|\n|\n|(|Ab|)| \n "),
        ("gpt4 groups_of_3", "I|'ll| see| |123|4|,|   | x|\n\n|(Ab|)| \n "),
        ("llama3 individual", "I|'ll| see| |1|2|3|4|,|   | x|\n\n|(Ab|)| \n| "),
        ("o200k none", "I'll| see| |1234|,|   | x|\n\n|(Ab|)| \n| "),
        ("punct none", "I|'|ll| see| |1234|,|   | x|\n\n|(|Ab|)| \n| "),
    ],
)
def test_words_by_hand(rule: str, words: str):
    assert scanned(BY_REGEX[rule], "I'll see 1234,    x\n\n(Ab) \n ") == words.split("|")


def test_case_of_o200k_by_hand():
    text = "HTMLParser fooBar ABC's 日本ABC a\u0301B \u0301XY"
    assert scanned(BY_REGEX["o200k none"], text) == (
        ["HTMLParser", " foo", "Bar", " ABC's", " 日本", "ABC", " a\u0301", "B", " \u0301", "XY"]
    )


def test_a_number_cut_out_ends_the_white_space_before_it():
    assert scanned(NUMBERS_FIRST["individual before gpt2"], "a  12 b") == [
        "a",
        "  ",
        "1",
        "2",
        " b",
    ]
    assert scanned(BY_REGEX["gpt2 individual"], "a  12 b") == ["a", " ", " ", "1", "2", " b"]


def test_texts_end_words_and_a_full_buffer_loses_none():
    plan = plan_scan(BY_REGEX["llama3 none"])
    assert plan is not None
    data, offsets = np.frombuffer(b"ab cd ef gh", np.uint8), np.array([0, 0, 4, 4, 11, 11])
    rule = (plan.classes, plan.family, plan.max_digits, plan.apart)
    starts, found, text, i = np.empty(3, np.int64), [], 0, 0
    while text < 5:
        n_cut, text, i = cut_texts(data, offsets, text, i, *rule, starts)
        found += [bytes(data[a:b]) for a, b in pairwise(starts[: n_cut + 1])]
    assert found == [b"ab", b" c", b"d", b" ef", b" gh"]


@pytest.mark.parametrize("name", ALL)
def test_random_strings_are_cut_alike(name: str):
    draw = random.Random(name)
    ascii_only = "aZ'sStTlLrReEvVmMdD 019 \t\r\n/!.,_-"
    beyond = "\u017f½٣Ⅷ\U00011de1\x85\u00a0\u2003\u0301\u20ddßǅʰª漢字あ\u0e34🙂\U000e0100"
    texts = ["".join(draw.choices(ascii_only + beyond, k=draw.randint(1, 12))) for _ in range(900)]
    few = "ab'sLD 12\n\r /!\u0301É漢"
    texts += ["".join(draw.choices(few, k=draw.randint(1, 40))) for _ in range(300)]
    for text in texts:
        assert_same(ALL[name], text)


@pytest.mark.parametrize("name", ALL)
def test_characters_where_classes_change_are_cut_alike_in_every_context(name: str):
    assert_same(ALL[name], in_contexts(random.Random(name).sample(class_changes(), 800)))


A_RULE_OF_EACH_SCANNER = (
    "byte level", "gpt4 none", "llama3 groups_of_3", "o200k individual", "punct none",
    "groups_of_3 before gpt2",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "name",
    [
        name if name in A_RULE_OF_EACH_SCANNER else pytest.param(name, marks=pytest.mark.long)
        for name in ALL
    ],
)
def test_characters_of_two_planes_are_cut_alike_in_every_context(name: str):
    """The planes with more than one kind of letter; of the others where classes change."""
    points = sorted({*range(0xD800), *range(0xE000, 0x20000), *class_changes()})
    for first in range(0, len(points), 20_000):
        assert_same(ALL[name], in_contexts(points[first : first + 20_000]))


def class_changes() -> list[int]:
    is_first = np.flatnonzero(np.diff(class_table(False))) + 1
    points = np.unique(np.concatenate([is_first, is_first - 1]))
    return points[(points < 0xD800) | (points >= 0xE000)].tolist()


def in_contexts(points: list[int]) -> str:
    """Each character among letters, capitals, digits, white space, punctuation, contractions."""
    contexts = "a{0}b A{0}B  1{0}2\n{0}\n !{0}? '{0} x'{0}e '{0}{0}\t{0}'s"
    return "".join(contexts.format(chr(point)) for point in points)


@pytest.mark.parametrize("name", ALL)
def test_program_text_is_cut_alike(name: str):
    library = Path(sysconfig.get_paths()["stdlib"])
    for file in ("textwrap.py", "enum.py", "test/test_unicodedata.py"):
        assert_same(ALL[name], (library / file).read_text(encoding="utf-8")[:60_000])


@pytest.mark.skipif(not FLORES.exists(), reason="needs the development data beside the checkout")
@pytest.mark.parametrize("name", ALL)
def test_sentences_are_cut_alike(name: str):
    for language in ("deu", "fra", "tur"):
        text = (FLORES / f"flores_dev_{language}.txt").read_text(encoding="utf-8")
        assert_same(ALL[name], text[:20_000])


def test_others_are_left_to_the_library():
    runs_of_digits = {"type": "Digits", "individual_digits": False}
    others: list[Json | None] = [
        {**BYTE_LEVEL, "add_prefix_space": True},
        {"type": "Whitespace"},
        choose_pretokenizer(GPT2, "custom", "source", r"\w+|\W"),
        {"type": "Sequence", "pretokenizers": [runs_of_digits, BYTE_LEVEL]},
        {"type": "Sequence", "pretokenizers": []},
        None,
    ]
    assert list(map(plan_scan, others)) == [None] * len(others)
