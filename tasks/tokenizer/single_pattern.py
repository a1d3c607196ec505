r"""The one regex that cuts text into words as a chain of pre-tokenizers does.

tiktoken has one regex and drops what it does not match. ``tokenizers`` has a chain of steps, each
of which cuts the pieces of the one before, and keeps what a regex does not match as a piece.
"""

import json
import random
from typing import get_args

from tokenizers import Tokenizer

from tasks.shared.vocabulary_file import Json, unfold
from tasks.tokenizer.format_errors import NotExpressibleError
from tasks.tokenizer.patterns import DIGIT_PATTERNS, PatternName, word_pattern
from tasks.tokenizer.regex_dialect import alternatives, check_portable

_OTHER_NUMBERS = r"\x{11DE0}-\x{11DE9}\x{16FF4}-\x{16FF6}"
r"""Numbers of Unicode 17. ``Digits`` of tokenizers 0.23 knows them and ``\p{N}`` does not yet."""

_OF_DIGITS = rf"\p{{N}}{_OTHER_NUMBERS}"
_NUMBERS = {**dict.fromkeys(DIGIT_PATTERNS.values(), r"\p{N}"), f"[{_OF_DIGITS}]": _OF_DIGITS}
"""What stands for a number in a class, by the regex of a step that sets numbers apart."""

_GPT2 = word_pattern("gpt2", "none")
_ANYTHING = r"[\s\S]+"
_COVERING = {word_pattern(name, rule) for name in get_args(PatternName) for rule in DIGIT_PATTERNS}
"""Patterns that leave out no text: any character is a letter, a number, a space or neither."""

_PROBE_CHARACTERS = " \u00a0\t\r\naäAÄdDrR\u017f'\u2019.-/😀\u0301中ǅʰ12²Ⅷ\U00011de0\u200d"
"""Each kind that a regex may tell apart: space, line end, letter, mark, number, sign."""


def single_pattern(pre_tokenizer: Json | None) -> str:
    """Write the pre-tokenizer of a byte-level tokenizer as one regex.

    Args:
        pre_tokenizer: value of that name in ``tokenizer.json``.

    Returns:
        A regex whose matches are the pieces, for any text, in tiktoken as in tokenizers.

    Raises:
        NotExpressibleError: there is none, or none that is known.
    """
    *steps, last = [*unfold(pre_tokenizer)] or [{}]
    if last.get("type") != "ByteLevel" or last.get("add_prefix_space", True):
        raise NotExpressibleError(
            "tiktoken takes the bytes of text as they are, and this tokenizer's pre-tokenizer is "
            f"{json.dumps(pre_tokenizer)}; choose a byte-level one without add_prefix_space."
        )
    patterns = [_pattern_of(step) for step in steps]
    if last.get("use_regex", True):
        patterns.append(_GPT2)
    if not patterns:
        return _ANYTHING
    if len(patterns) == 1:
        return _covering(patterns[0], steps[0] if steps else {})
    if len(patterns) > 2 or patterns[0] not in _NUMBERS:
        raise NotExpressibleError(
            f"tiktoken cuts text with one regex, and this tokenizer with {len(patterns)} in turn "
            f"({', '.join(patterns)}); choose a pretokenizer by name, or keep the tokenizer.json."
        )
    joined = _numbers_first(*patterns)
    _check_same_cuts(pre_tokenizer, joined)
    return joined


def _pattern_of(step: Json) -> str:
    if step.get("type") == "Digits":
        return f"[{_OF_DIGITS}]" + ("" if step["individual_digits"] else "+")
    regex = step.get("pattern", {}).get("Regex")
    keeps_matches = (step.get("behavior"), step.get("invert")) in (
        ("Isolated", False),
        ("Removed", True),
    )
    if step.get("type") != "Split" or regex is None or not keeps_matches:
        raise NotExpressibleError(
            f"tiktoken cuts text into matches of a regex, which {json.dumps(step)} does not; "
            "choose a pretokenizer by name, or keep the tokenizer.json."
        )
    return check_portable(regex)


def _covering(pattern: str, step: Json) -> str:
    """Let a last alternative match what the others leave out, as ``Isolated`` keeps it."""
    # Such an alternative repeats all before it, so that one found here is told by its halves.
    half = pattern[: (len(pattern) - len(_with_rest(""))) // 2]
    if pattern in (*_COVERING, _ANYTHING, _with_rest(half)) or step.get("behavior") == "Removed":
        return pattern
    return _with_rest(pattern)


def _with_rest(pattern: str) -> str:
    return rf"{pattern}|(?:(?!{pattern})[\s\S])+"


def _numbers_first(numbers: str, words: str) -> str:
    r"""Join a step that sets numbers apart and a regex for the text between them.

    To the regex the text ends before a number, so ``(?!\S)`` and ``\z`` take a number for the end.
    Its own rule for numbers finds a piece that is one already.
    """
    if words not in _COVERING:
        raise NotExpressibleError(
            f"tiktoken cuts text with one regex, and for {numbers} followed by {words} none is "
            "known; choose a pretokenizer by name, or keep the tokenizer.json."
        )
    number = _NUMBERS[numbers]
    others = "|".join(
        part.replace(r"\p{N}", number)
        for part in alternatives(words)
        if part.removeprefix(" ?") not in _NUMBERS
    )
    at_end = {r"(?!\S)": rf"(?![^\s{number}])", r"\z": rf"(?:(?=[{number}])|\z)"}
    for rule, with_number in at_end.items():
        others = others.replace(rule, with_number)
    return f"{numbers}|{others}"


def _check_same_cuts(pre_tokenizer: Json | None, pattern: str) -> None:
    draw = random.Random(0)
    probe = "".join(draw.choices(_PROBE_CHARACTERS, k=20_000))
    split = {"pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    if _cuts(pre_tokenizer, probe) != _cuts({"type": "Split", **split}, probe):
        raise NotExpressibleError(
            f"No single regex is known that cuts as {json.dumps(pre_tokenizer)} does; choose a "
            "pretokenizer by name, or keep the tokenizer.json."
        )


def _cuts(pre_tokenizer: Json | None, text: str) -> list[tuple[int, int]]:
    bare = {
        "version": "1.0",
        "added_tokens": [],
        "model": {"type": "BPE", "vocab": {}, "merges": []},
    }
    tokenizer = Tokenizer.from_str(json.dumps({**bare, "pre_tokenizer": pre_tokenizer}))
    cut = tokenizer.pre_tokenizer
    return [] if cut is None else [span for _, span in cut.pre_tokenize_str(text)]
