"""Published regexes that cut text into words, with a slot for the digits rule.

- ``gpt2``: Radford et al. 2019, as released with the model.
- ``gpt4``: ``cl100k_base`` as published with tiktoken.
- ``llama3``: as published in Llama 3's ``tokenizer.json``; like ``gpt4``, but a run of line ends
  is one piece wherever it ends.
"""

from typing import Literal

Digits = Literal["individual", "groups_of_3", "none"]

_DIGITS: dict[str, str] = {
    "individual": r"\p{N}",
    "groups_of_3": r"\p{N}{1,3}",
    "none": r"\p{N}+",
}

_GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+|DIGITS| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
)
_LLAMA3 = _GPT4.replace(r"\s*[\r\n]|", r"\s*[\r\n]+|")


def word_pattern(name: Literal["gpt2", "gpt4", "llama3"], digits: Digits) -> str:
    """Give the regex of one family with one digits rule.

    GPT-2 lets a space lead a number that is kept whole; no other rule does.
    """
    rule = _DIGITS[digits]
    if name == "gpt2":
        return _GPT2.replace("DIGITS", " ?" + rule if digits == "none" else rule)
    return (_GPT4 if name == "gpt4" else _LLAMA3).replace("DIGITS", rule)
