"""What the name of a GGUF's pre-tokenizer stands for.

A GGUF file states how text is cut before merging only by a name. The definitions here are those of
the ``tokenizer.json`` the named models were published with. A wrong one changes every token count
and nearly every loss without any error, so a name that is not in the table is refused.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tokenizers import Regex, normalizers, pre_tokenizers

from tasks.shared.errors import InputError

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORDS_AND_MARKS = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_LLAMA3 = rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}{{1,3}}|{_WORDS_AND_MARKS}"
_QWEN2 = rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}|{_WORDS_AND_MARKS}"
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_LEAD = r"[^\r\n\p{L}\p{N}]?"
_TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_TEKKEN = rf"{_LEAD}{_UPPER}*{_LOWER}+|{_LEAD}{_UPPER}+{_LOWER}*|\p{{N}}|{_TAIL}"
_GPT4O = (
    rf"{_LEAD}{_UPPER}*{_LOWER}+{_CONTRACTIONS}?|{_LEAD}{_UPPER}+{_LOWER}*{_CONTRACTIONS}?"
    rf"|\p{{N}}{{1,3}}|{_TAIL}"
)
_DEEPSEEK3_LETTERS = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    r"""| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
)


class UnknownPreTokenizerError(InputError):
    """A GGUF file names a pre-tokenizer whose definition is not known here."""


@dataclass(frozen=True)
class PreTokenization:
    """How text is cut, and the settings that published tokenizers pair with that cut."""

    cut: Callable[[], pre_tokenizers.PreTokenizer]
    normaliser: Callable[[], normalizers.Normalizer] | None = None
    ignore_merges: bool = False
    """A pre-token that is itself in the vocabulary is taken whole, merges or not."""
    adds_bos: bool = False
    """Whether a bos is put first where the file does not say."""


def _gpt2() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


def _single_digits_then_gpt2() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), _gpt2()])


def _split(*patterns: str) -> Callable[[], pre_tokenizers.PreTokenizer]:
    def cut() -> pre_tokenizers.PreTokenizer:
        splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]
        bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        return pre_tokenizers.Sequence([*splits, bytes_only])

    return cut


def _falcon() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Punctuation("contiguous"),
            _gpt2(),
            pre_tokenizers.Digits(individual_digits=False),
            pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated"),
        ]
    )


_LLAMA3_KIND = PreTokenization(_split(_LLAMA3), ignore_merges=True, adds_bos=True)
_QWEN2_KIND = PreTokenization(_split(_QWEN2), normaliser=normalizers.NFC)
_DIGITS_KIND = PreTokenization(_single_digits_then_gpt2)
_GPT2_KIND = PreTokenization(_gpt2)
_GPT4O_KIND = PreTokenization(_split(_GPT4O))

PRE_TOKENIZATIONS: dict[str, PreTokenization] = {
    "command-r": PreTokenization(_single_digits_then_gpt2, normaliser=normalizers.NFC),
    "deepseek-r1-qwen": _QWEN2_KIND,
    "deepseek-v3": PreTokenization(
        _split(
            r"\p{N}{1,3}",
            r"[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+",
            _DEEPSEEK3_LETTERS,
        ),
        adds_bos=True,
    ),
    "falcon": PreTokenization(_falcon),
    "gpt-2": _GPT2_KIND,
    "gpt-4o": _GPT4O_KIND,
    "llama-bpe": _LLAMA3_KIND,
    "llama-v3": _LLAMA3_KIND,
    "llama3": _LLAMA3_KIND,
    "mpt": PreTokenization(_gpt2, normaliser=normalizers.NFC),
    "olmo": PreTokenization(_gpt2, normaliser=normalizers.NFC),
    "phi-2": _GPT2_KIND,
    "qwen2": _QWEN2_KIND,
    "refact": _DIGITS_KIND,
    "smollm": _DIGITS_KIND,
    "starcoder": _DIGITS_KIND,
    "tekken": PreTokenization(_split(_TEKKEN), ignore_merges=True, adds_bos=True),
}


def pre_tokenization(name: str) -> PreTokenization:
    """The definition behind a name.

    Raises:
        UnknownPreTokenizerError: the name is not in ``PRE_TOKENIZATIONS``.
    """
    if name not in PRE_TOKENIZATIONS:
        raise UnknownPreTokenizerError(
            f"pre-tokenizer {name!r} is not known; known are {', '.join(PRE_TOKENIZATIONS)}. "
            "Import the model's safetensors form, which carries its own tokenizer.json."
        )
    return PRE_TOKENIZATIONS[name]
