"""The part of a tokenizer that cuts text into words, chosen by name and digits rule."""

from typing import Literal

from tasks.shared.vocabulary_file import Json, unfold
from tasks.tokenizer.cutters import load_parts
from tasks.tokenizer.errors import PretokenizerError
from tasks.tokenizer.patterns import DIGIT_PATTERNS, Digits, PatternName, word_pattern
from tasks.tokenizer.pretokenizer_checks import check_keeps_text, check_regex

PretokenizerName = Literal["source", "custom"] | PatternName

_PUBLISHED = "gpt2, gpt4, llama3, o200k or punct"

_SAMPLE = "1234567"
_RULE_OF_LENGTHS: dict[tuple[int, ...], Digits] = {
    (1,) * 7: "individual",
    (3, 3, 1): "groups_of_3",
    (7,): "none",
}
BYTE_LEVEL: Json = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": False,
}
"""Writes bytes as characters and cuts nothing."""


def choose_pretokenizer(
    source: Json,
    name: PretokenizerName,
    digits: Literal["source"] | Digits,
    regex: str | None = None,
) -> Json:
    """Build the pre-tokenizer of a byte-level tokenizer.

    Args:
        source: the source model's ``tokenizer.json``.
        name: whose regex; ``source`` takes over the source's pre-tokenizer whole.
        digits: how numbers are cut; ``source`` does as the source does, and beside a custom
            regex as that does.
        regex: the custom one, in the library's syntax (Oniguruma, Ruby); text between its matches
            is cut out as words too.

    Returns:
        The value for ``pre_tokenizer`` in ``tokenizer.json``.

    Raises:
        PretokenizerError: the source's words are no bytes, the regex cannot be used, or the rule
            cannot be had with them.
    """
    if (regex is None) == (name == "custom"):
        raise PretokenizerError(
            f"pretokenizer: {name} came {'without' if regex is None else 'with'} a regex; "
            "a regex is given with pretokenizer: custom and with no other."
        )
    own: Json | None = source.get("pre_tokenizer")
    if regex is not None:
        check_regex(regex)
        own = _sequence(_split(regex), BYTE_LEVEL)
    elif name != "source" and name != "custom":
        rule = rule_of_source(own) if digits == "source" else digits
        return _sequence(_split(word_pattern(name, rule)), BYTE_LEVEL)
    if own is None or not any(part.get("type") == "ByteLevel" for part in unfold(own)):
        raise PretokenizerError(
            "pretokenizer: source needs a byte-level source tokenizer, and this one is not; "
            f"choose {_PUBLISHED}."
        )
    check_keeps_text(own)
    return own if digits == "source" else _with_rule(own, name, digits)


def digit_rule(pre_tokenizer: Json | None) -> Digits | None:
    """Tell how a pre-tokenizer cuts a number, by letting it; ``None`` for no rule we know."""
    if pre_tokenizer is None:
        return "none"
    _, words = load_parts(None, pre_tokenizer)
    spans = [end - start for _, (start, end) in words.pre_tokenize_str(_SAMPLE)]
    return _RULE_OF_LENGTHS.get(tuple(span for span in spans if span))


def rule_of_source(pre_tokenizer: Json | None) -> Digits:
    """Tell how a source's pre-tokenizer cuts a number.

    Raises:
        PretokenizerError: by no rule that has a name here.
    """
    rule = digit_rule(pre_tokenizer)
    if rule is None:
        raise PretokenizerError(
            "digits: source, but the source tokenizer cuts 1234567 neither one by one, nor in "
            "threes from the left, nor not at all; choose individual, groups_of_3 or none."
        )
    return rule


def _with_rule(own: Json, name: str, digits: Digits) -> Json:
    first: Json = {"type": "Digits", "individual_digits": True}
    if digits == "groups_of_3":
        first = _split(DIGIT_PATTERNS[digits])
    candidate = own if digits == "none" else _sequence(first, *unfold(own))
    if digit_rule(candidate) != digits:
        raise PretokenizerError(
            f"digits: {digits} cannot be had with pretokenizer: {name}, which cuts numbers finer; "
            f"choose pretokenizer {_PUBLISHED}, or digits: source."
        )
    return candidate


def _split(pattern: str) -> Json:
    return {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "Isolated",
        "invert": False,
    }


def _sequence(*parts: Json) -> Json:
    return {"type": "Sequence", "pretokenizers": list(parts)}
