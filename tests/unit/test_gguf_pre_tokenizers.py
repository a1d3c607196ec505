"""Cuts by pre-tokenizer name, frozen: a wrong one changes every loss and raises no error."""

import pytest

from tasks.shared.gguf_pre_tokenizers import (
    PRE_TOKENIZATIONS,
    UnknownPreTokenizerError,
    pre_tokenization,
)

TEXTS = ("a  12", "x\n\n 2024", "It's 3.14", "ÜberHaus!\n", "don'T")

FROZEN = {
    "smollm": ("a|ĠĠ|1|2", "x|ĊĊĠ|2|0|2|4", "It|'s|Ġ|3|.|1|4", "ÃľberHaus|!|Ċ", "don|'|T"),
    "gpt-2": ("a|Ġ|Ġ12", "x|ĊĊ|Ġ2024", "It|'s|Ġ3|.|14", "ÃľberHaus|!|Ċ", "don|'|T"),
    "llama-bpe": ("a|Ġ|Ġ|12", "x|ĊĊ|Ġ|202|4", "It|'s|Ġ|3|.|14", "ÃľberHaus|!Ċ", "don|'T"),
    "qwen2": ("a|Ġ|Ġ|1|2", "x|ĊĊ|Ġ|2|0|2|4", "It|'s|Ġ|3|.|1|4", "ÃľberHaus|!Ċ", "don|'T"),
    "tekken": ("a|Ġ|Ġ|1|2", "x|ĊĊ|Ġ|2|0|2|4", "It|'s|Ġ|3|.|1|4", "Ãľber|Haus|!Ċ", "don|'T"),
    "gpt-4o": ("a|Ġ|Ġ|12", "x|ĊĊ|Ġ|202|4", "It's|Ġ|3|.|14", "Ãľber|Haus|!Ċ", "don'T"),
    "deepseek-v3": ("a|ĠĠ|12", "x|ĊĊ|Ġ|202|4", "It|'s|Ġ|3|.|14", "ÃľberHaus|!Ċ", "don|'T"),
    "falcon": ("a|Ġ|Ġ|12", "x|ĊĊ|Ġ|202|4", "It|'|s|Ġ|3|.|14", "ÃľberHaus|!|Ċ", "don|'|T"),
}
SAME_AS = {
    "command-r": "smollm",
    "deepseek-r1-qwen": "qwen2",
    "llama-v3": "llama-bpe",
    "llama3": "llama-bpe",
    "mpt": "gpt-2",
    "olmo": "gpt-2",
    "phi-2": "gpt-2",
    "refact": "smollm",
    "starcoder": "smollm",
}


def test_every_known_name_is_frozen() -> None:
    assert FROZEN.keys() | SAME_AS.keys() == PRE_TOKENIZATIONS.keys()


@pytest.mark.parametrize("name", sorted(PRE_TOKENIZATIONS))
def test_cuts_are_as_published(name: str) -> None:
    cut = pre_tokenization(name).cut()
    found = tuple("|".join(p for p, _ in cut.pre_tokenize_str(text)) for text in TEXTS)
    assert found == FROZEN[SAME_AS.get(name, name)]


def test_qwen_composes_letters_and_their_marks_first() -> None:
    normaliser = pre_tokenization("qwen2").normaliser
    assert normaliser is not None
    assert normaliser().normalize_str("U\u0308ber") == "\u00dcber"
    assert pre_tokenization("smollm").normaliser is None


def test_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownPreTokenizerError, match=r"'default'.*llama-bpe.*smollm"):
        pre_tokenization("default")
