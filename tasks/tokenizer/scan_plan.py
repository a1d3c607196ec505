"""Which pre-tokenizers the compiled scanners cut for, told by their JSON."""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from jaxtyping import UInt8

from tasks.shared.vocabulary_file import Json, unfold
from tasks.tokenizer.patterns import DIGIT_PATTERNS, Digits, PatternName, word_pattern
from tasks.tokenizer.scan_kernels import GPT2, GPT4, LLAMA3, MANY, O200K, PUNCT
from tasks.tokenizer.unicode_classes import class_table

_FAMILIES: dict[PatternName, int] = {
    "gpt2": GPT2,
    "gpt4": GPT4,
    "llama3": LLAMA3,
    "o200k": O200K,
    "punct": PUNCT,
}
_MAX_DIGITS: dict[Digits, int] = {"individual": 1, "groups_of_3": 3, "none": int(MANY)}
_KEEPS_ALL = (("Isolated", False), ("Isolated", True), ("Removed", True))
"""Behaviour and inversion of each ``Split`` whose pieces are the matches, if these leave no gap."""


@dataclass(frozen=True)
class ScanPlan:
    """Arguments of ``scan_kernels.next_end``.

    Attributes:
        family: whose regex.
        max_digits: longest piece of a number.
        apart: whether numbers are cut out before the regex sees the text.
        digits_of_rust: whether they are by ``Digits``, which knows more of them.
    """

    family: int
    max_digits: int
    apart: bool = False
    digits_of_rust: bool = False

    @property
    def classes(self) -> UInt8[np.ndarray, " C"]:
        """The class bits of every code point."""
        return class_table(self.digits_of_rust)


def plan_scan(pre_tokenizer: Json | None) -> ScanPlan | None:
    """Recognise a pre-tokenizer that a scanner can stand in for; ``None`` for any other."""
    parts = list(unfold(pre_tokenizer))
    if not parts:
        return None
    if parts[0] == {"type": "Digits", "individual_digits": True}:
        plan = _plan_words(parts[1:])
        return plan and replace(plan, max_digits=1, apart=True, digits_of_rust=True)
    cut = regex_of_split(parts[0])
    for rule in ("individual", "groups_of_3"):
        if cut == DIGIT_PATTERNS[rule]:
            plan = _plan_words(parts[1:])
            most = _MAX_DIGITS[rule]
            return plan and replace(plan, max_digits=min(most, plan.max_digits), apart=True)
    return _plan_words(parts)


def regex_of_split(part: Json) -> str | None:
    """The regex whose matches are the pieces, if this is a ``Split`` that loses no text."""
    if part.get("type") == "Split" and (part["behavior"], part["invert"]) in _KEEPS_ALL:
        return part["pattern"].get("Regex")
    return None


def is_byte_level(part: Json, *, use_regex: bool) -> bool:
    """Whether this is a ``ByteLevel`` that adds no space, with or without a regex of its own."""
    return (
        part.get("type") == "ByteLevel"
        and part["add_prefix_space"] is False
        and part.get("use_regex", True) is use_regex
    )


def _plan_words(parts: list[Json]) -> ScanPlan | None:
    if len(parts) == 1 and is_byte_level(parts[0], use_regex=True):
        return ScanPlan(GPT2, _MAX_DIGITS["none"])
    if len(parts) == 2 and is_byte_level(parts[1], use_regex=False):
        cut = regex_of_split(parts[0])
        for name, rule in product(_FAMILIES, _MAX_DIGITS):
            if cut == word_pattern(name, rule):
                return ScanPlan(_FAMILIES[name], _MAX_DIGITS[rule])
    return None
