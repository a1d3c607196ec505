r"""Published regexes that cut text into words, with a slot for the digits rule.

- ``gpt2``: Radford et al. 2019, as released with the model.
- ``gpt4``: ``cl100k_base`` as published with tiktoken. White space at the end of the text is one
  piece; elsewhere a run of it is cut after its last line end.
- ``llama3``: as published in Llama 3's ``tokenizer.json``; like ``gpt4`` without the rule for the
  end of the text.
- ``o200k``: ``o200k_base`` as published with tiktoken. A capital after a small letter starts a new
  word, a contraction stays with its word, accents count as letters.
- ``punct``: Dagan et al. 2024 (arXiv 2402.01035), as in the benchmarks of its first author's
  bpeasy. Only a space may lead a word, no other white space and no punctuation, and contractions
  have no rule of their own.
"""

from typing import Literal

PatternName = Literal["gpt2", "gpt4", "llama3", "o200k", "punct"]
Digits = Literal["individual", "groups_of_3", "none"]

DIGIT_PATTERNS: dict[Digits, str] = {
    "individual": r"\p{N}",
    "groups_of_3": r"\p{N}{1,3}",
    "none": r"\p{N}+",
}

_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_LEAD = r"[^\r\n\p{L}\p{N}]?"
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_OTHERS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_SPACE = r"\s*[\r\n]+|\s+(?!\S)|\s+"

_PATTERNS: dict[PatternName, str] = {
    "gpt2": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+|DIGITS| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    # \z is the end of the text here, where tiktoken's regexes have $.
    "gpt4": rf"{_CONTRACTION}|{_LEAD}\p{{L}}+|DIGITS|{_OTHERS}|\s+\z|{_SPACE}",
    "llama3": rf"{_CONTRACTION}|{_LEAD}\p{{L}}+|DIGITS|{_OTHERS}|{_SPACE}",
    "o200k": (
        rf"{_LEAD}{_UPPER}*{_LOWER}+{_CONTRACTION}?|{_LEAD}{_UPPER}+{_LOWER}*{_CONTRACTION}?"
        rf"|DIGITS| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACE}"
    ),
    "punct": rf" ?\p{{L}}+|DIGITS|{_OTHERS}|{_SPACE}",
}


def word_pattern(name: PatternName, digits: Digits) -> str:
    """Give the regex of one family with one digits rule.

    GPT-2 lets a space lead a number that is kept whole; no other rule does.
    """
    rule = DIGIT_PATTERNS[digits]
    if name == "gpt2" and digits == "none":
        rule = " ?" + rule
    return _PATTERNS[name].replace("DIGITS", rule)


def stretch_pattern(digits: Digits) -> str:
    """The regex that cuts text into stretches; what lies between its matches is one, too.

    Args:
        digits: how numbers are cut, as in the rule that cuts words.
    """
    return rf"{DIGIT_PATTERNS[digits]}| ?[^\s\p{{L}}\p{{N}}]{{2,}}[\r\n/]*| +(?!\S)"
