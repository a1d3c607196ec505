"""The part of a tokenizer that cuts text into words, chosen by name and digits rule."""

import json
from typing import Any, Literal

from tokenizers import Tokenizer

from tasks.shared.vocabulary_file import Json, unfold
from tasks.tokenizer.errors import PretokenizerError
from tasks.tokenizer.patterns import Digits, word_pattern

_SAMPLE = "1234567"
_RULE_OF_LENGTHS: dict[tuple[int, ...], Digits] = {
    (1,) * 7: "individual",
    (3, 3, 1): "groups_of_3",
    (7,): "none",
}
_BYTE_LEVEL: Json = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": False,
}


def choose_pretokenizer(
    source: Json,
    name: Literal["source", "gpt2", "gpt4", "llama3"],
    digits: Literal["source", "individual", "groups_of_3", "none"],
) -> Json:
    """Build the pre-tokenizer of a byte-level tokenizer.

    Args:
        source: the source model's ``tokenizer.json``.
        name: whose regex; ``source`` takes over the source's pre-tokenizer whole.
        digits: how numbers are cut; ``source`` does as the source does.

    Returns:
        The value for ``pre_tokenizer`` in ``tokenizer.json``.

    Raises:
        PretokenizerError: the source's words are no bytes, or the rule cannot be had with them.
    """
    own: Json | None = source.get("pre_tokenizer")
    if name != "source":
        rule = _rule_of_source(own) if digits == "source" else digits
        return _sequence(_split(word_pattern(name, rule)), _BYTE_LEVEL)
    if own is None or not any(part.get("type") == "ByteLevel" for part in unfold(own)):
        raise PretokenizerError(
            "pretokenizer: source needs a byte-level source tokenizer, and this one is not; "
            "choose gpt2, gpt4 or llama3."
        )
    return own if digits == "source" else _with_rule(own, digits)


def digit_rule(pre_tokenizer: Json | None) -> Digits | None:
    """Tell how a pre-tokenizer cuts a number, by letting it; ``None`` for no rule we know."""
    if pre_tokenizer is None:
        return "none"
    skeleton = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": pre_tokenizer,
        "model": {"type": "BPE", "vocab": {}, "merges": []},
    }
    words: Any = Tokenizer.from_str(json.dumps(skeleton)).pre_tokenizer
    spans = [end - start for _, (start, end) in words.pre_tokenize_str(_SAMPLE)]
    return _RULE_OF_LENGTHS.get(tuple(span for span in spans if span))


def _rule_of_source(pre_tokenizer: Json | None) -> Digits:
    rule = digit_rule(pre_tokenizer)
    if rule is None:
        raise PretokenizerError(
            "digits: source, but the source tokenizer cuts 1234567 neither one by one, nor in "
            "threes from the left, nor not at all; choose individual, groups_of_3 or none."
        )
    return rule


def _with_rule(own: Json, digits: Digits) -> Json:
    first: Json = {"type": "Digits", "individual_digits": True}
    if digits == "groups_of_3":
        first = _split(r"\p{N}{1,3}")
    candidate = own if digits == "none" else _sequence(first, *unfold(own))
    if digit_rule(candidate) != digits:
        raise PretokenizerError(
            f"digits: {digits} cannot be had with pretokenizer: source, which cuts numbers finer; "
            "choose pretokenizer gpt2, gpt4 or llama3, or digits: source."
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
