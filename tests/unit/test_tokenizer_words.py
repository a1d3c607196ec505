"""Pre-tokenisers: frozen cuts, and agreement with the published regexes."""

import json
from typing import Any

import pytest
import regex
from tokenizers import Tokenizer

from tasks.shared.vocabulary_file import Json
from tasks.tokenizer.errors import PretokenizerError
from tasks.tokenizer.pretokenizer import choose_pretokenizer, digit_rule

SMOLLM: Json = {
    "pre_tokenizer": {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Digits", "individual_digits": True},
            {
                "type": "ByteLevel",
                "add_prefix_space": False,
                "trim_offsets": True,
                "use_regex": True,
            },
        ],
    }
}
GPT2: Json = {"pre_tokenizer": SMOLLM["pre_tokenizer"]["pretokenizers"][1]}
METASPACE: Json = {
    "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}
}
CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
PUBLISHED = {
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "gpt4": (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
        r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
    ),
    "llama3": (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    "o200k": (
        rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{CONTRACTION}?"
        rf"|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{CONTRACTION}?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    "punct": (r" ?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"),
}
OWN_DIGITS: dict[str, Any] = {
    name: "none" if name == "gpt2" else "groups_of_3" for name in PUBLISHED
}
TEXTS = [
    "a  12",
    "x\n\n 2024",
    "Wir're 'LL don't: §§ 12a, 1234567 €\r\n\r\n  Absatz\t\tEnde  ",
    "naïve café  ½ Ⅷ 一二三 日本語のテキスト 🙂🙂 !!!\n\n\n  \n x",
    "def f(x):\n    return x[1:]  # comment\n\n\nclass A:\n\tpass\n",
    "HTMLParser.fooBar() doesn't //\n/* \"ABC's\" */\n\n  \n ",
]


def cut(pre_tokenizer: Json, text: str) -> list[str]:
    skeleton = {"version": "1.0", "added_tokens": [], "pre_tokenizer": pre_tokenizer}
    model = {"type": "BPE", "vocab": {}, "merges": []}
    words: Any = Tokenizer.from_str(json.dumps({**skeleton, "model": model})).pre_tokenizer
    return [text[start:end] for _, (start, end) in words.pre_tokenize_str(text)]


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("text", TEXTS)
def test_cuts_are_those_of_the_published_regex(name: Any, text: str):
    chosen = choose_pretokenizer(SMOLLM, name, OWN_DIGITS[name])
    assert cut(chosen, text) == regex.findall(PUBLISHED[name], text)


@pytest.mark.parametrize("name", ["gpt4", "llama3", "o200k", "punct"])
def test_digits_by_rule(name: Any):
    text = "a 1234567,12"
    assert cut(choose_pretokenizer(GPT2, name, "groups_of_3"), text) == (
        ["a", " ", "123", "456", "7", ",", "12"]
    )
    assert cut(choose_pretokenizer(GPT2, name, "individual"), text) == (
        ["a", " ", *"1234567", ",", *"12"]
    )
    assert cut(choose_pretokenizer(GPT2, name, "none"), text) == (["a", " ", "1234567", ",", "12"])


def test_smollm_cuts_are_frozen():
    assert cut(choose_pretokenizer(SMOLLM, "source", "source"), "a  12") == ["a", "  ", "1", "2"]
    assert cut(choose_pretokenizer(SMOLLM, "source", "source"), "x\n\n 2024") == (
        ["x", "\n\n ", *"2024"]
    )


def test_the_rule_of_the_source_is_found_by_letting_it_cut():
    assert digit_rule(SMOLLM["pre_tokenizer"]) == "individual"
    assert digit_rule(GPT2["pre_tokenizer"]) == "none"
    assert cut(choose_pretokenizer(SMOLLM, "llama3", "source"), "12") == ["1", "2"]
    assert cut(choose_pretokenizer(GPT2, "llama3", "source"), "1234") == ["1234"]


def test_a_rule_may_be_set_before_the_words_of_the_source():
    chosen = choose_pretokenizer(GPT2, "source", "groups_of_3")
    assert cut(chosen, "a 1234") == ["a", " ", "123", "4"]
    assert cut(choose_pretokenizer(GPT2, "source", "individual"), "a 12") == ["a", " ", "1", "2"]


def test_what_the_source_cut_cannot_be_joined():
    with pytest.raises(PretokenizerError, match=r"digits: none cannot .* choose pretokenizer gpt2"):
        choose_pretokenizer(SMOLLM, "source", "none")


def test_words_of_a_source_that_is_not_byte_level_cannot_be_taken():
    with pytest.raises(PretokenizerError, match="choose gpt2, gpt4, llama3, o200k or punct"):
        choose_pretokenizer(METASPACE, "source", "source")


def test_a_custom_regex_cuts_and_keeps_what_is_between_its_matches():
    chosen = choose_pretokenizer(METASPACE, "custom", "source", r"[a-z]+")
    assert cut(chosen, "ab, 12 cd") == ["ab", ", 12 ", "cd"]
    assert cut(choose_pretokenizer(METASPACE, "custom", "groups_of_3", r"[a-z]+"), "ab 1234") == (
        ["ab", " ", "123", "4"]
    )


@pytest.mark.parametrize(
    ("regex", "reason"),
    [
        (r"(", "unmatched parenthesis"),
        (r"[a-", "cannot be read by the tokenizers library"),
        (r"\p{Nope}", "invalid character property"),
        (r"[a-z]*", "matches the empty string"),
        (r"\w+|(?= )", "matches the empty string"),
        (r"\w+|\b", "matches the empty string"),
    ],
)
def test_a_regex_that_cannot_be_used_is_refused(regex: str, reason: str):
    with pytest.raises(PretokenizerError, match=reason):
        choose_pretokenizer(GPT2, "custom", "source", regex)


def test_a_regex_and_its_name_come_together():
    with pytest.raises(PretokenizerError, match="custom came without a regex"):
        choose_pretokenizer(GPT2, "custom", "source")
    with pytest.raises(PretokenizerError, match="llama3 came with a regex"):
        choose_pretokenizer(GPT2, "llama3", "source", r"\w+")


def test_a_source_that_drops_text_is_refused():
    spaces = {"type": "Split", "pattern": {"String": " "}, "behavior": "Removed", "invert": False}
    parts = {"type": "Sequence", "pretokenizers": [spaces, GPT2["pre_tokenizer"]]}
    with pytest.raises(PretokenizerError, match=r"keeps \d+ of the \d+ bytes"):
        choose_pretokenizer({"pre_tokenizer": parts}, "source", "source")


def test_a_source_that_adds_a_space_drops_nothing():
    own = {**GPT2["pre_tokenizer"], "add_prefix_space": True}
    assert choose_pretokenizer({"pre_tokenizer": own}, "source", "source") == own
