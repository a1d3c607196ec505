"""How text is cut into words: the normaliser and the pre-tokenizer that a choice stands for."""

from dataclasses import dataclass

from tasks.shared.vocabulary_file import Json, TokenizerFile, unfold
from tasks.tokenizer.config import CustomWords, RandomChunks, SourceWords, Stretches, WordsConfig
from tasks.tokenizer.errors import PretokenizerError
from tasks.tokenizer.patterns import stretch_pattern
from tasks.tokenizer.pretokenizer import BYTE_LEVEL, choose_pretokenizer, rule_of_source

_WORDS_OF_METASPACE: Json = {
    "type": "Split",
    "pattern": {"Regex": "▁+[^▁]*|[^▁]+"},
    "behavior": "Isolated",
    "invert": False,
}


@dataclass(frozen=True)
class WordRule:
    """Values of these names in ``tokenizer.json``, and whether they are the source's own."""

    normalizer: Json | None
    pre_tokenizer: Json | None
    is_source: bool


def word_rule(source: TokenizerFile, words: WordsConfig) -> WordRule:
    """Resolve a choice.

    Raises:
        PretokenizerError: the choice cannot be had with this source, or its regex is unfit.
    """
    own = source.tokenizer
    if isinstance(words, RandomChunks):
        return WordRule(None, BYTE_LEVEL, is_source=False)
    if isinstance(words, CustomWords):
        cut = choose_pretokenizer(own, "custom", "source", words.regex)
        return WordRule(None, cut, is_source=False)
    if isinstance(words, Stretches):
        digits = (
            rule_of_source(own.get("pre_tokenizer")) if words.digits == "source" else words.digits
        )
        cut = choose_pretokenizer(own, "custom", "source", stretch_pattern(digits))
        return WordRule(None, cut, is_source=False)
    if not isinstance(words, SourceWords):
        return WordRule(None, choose_pretokenizer(own, words.rule, words.digits), is_source=False)
    normalizer = own.get("normalizer")
    if words.digits == "source":
        cut = own.get("pre_tokenizer") or _words_if_none(own)
        return WordRule(normalizer, cut, is_source=True)
    return WordRule(normalizer, choose_pretokenizer(own, "source", words.digits), is_source=False)


def cuts_nothing(rule: WordRule) -> bool:
    """Whether a whole text is one word, as it is after learning from random chunks."""
    return rule.pre_tokenizer == BYTE_LEVEL


def check_byte_level(rule: WordRule) -> None:
    """Refuse words that are no bytes, on which a byte-level vocabulary cannot be learnt.

    Raises:
        PretokenizerError: it names the remedy.
    """
    if not any(part.get("type") == "ByteLevel" for part in unfold(rule.pre_tokenizer)):
        raise PretokenizerError(
            "pretokens.words rule: source needs a byte-level source tokenizer for a new "
            "vocabulary, and this one is not; choose gpt2, gpt4, o200k, llama3, punct or custom."
        )


def _words_if_none(own: Json) -> Json | None:
    """Keep words apart where the source has no pre-tokenizer, as in Llama 2.

    Without it whole documents would be words. Old merges do not reach over a word's start, so
    the cut changes none of them.
    """
    stands = any(part.get("content") == "▁" for part in unfold(own.get("normalizer")))
    return _WORDS_OF_METASPACE if stands else None
