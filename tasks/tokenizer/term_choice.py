"""The terms that a config asks to be one token each, as bytes, checked against the words rule."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tasks.tokenizer.config import TermsConfig
from tasks.tokenizer.cutters import library_cutter, load_parts
from tasks.tokenizer.required_terms import check_terms_are_words
from tasks.tokenizer.term_presets import Term, preset, spell
from tasks.tokenizer.word_rule import WordRule


@dataclass(frozen=True)
class Terms:
    """What must be one token each.

    Attributes:
        required: their bytes, each once.
        n_left_out: terms of presets that the rule for words cuts, so that no merge joins them.
    """

    required: Sequence[bytes] = ()
    n_left_out: int = 0


def choose_terms(config: TermsConfig | None, rule: WordRule) -> Terms:
    """Spell the terms of a config.

    Raises:
        TermError: the rule cuts a term that was written out; it shows which.
    """
    if config is None:
        return Terms()
    cut = words_of_text(rule)
    own = [data for text in config.texts for data in spell(Term(text), config.leading_space)]
    check_terms_are_words(own, cut)
    made = [
        data
        for name in config.presets
        for term in preset(name)
        for data in spell(term, config.leading_space)
    ]
    whole = [data for data in made if cut(data.decode()) == [data.decode()]]
    return Terms(list(dict.fromkeys([*own, *whole])), len(made) - len(whole))


def words_of_text(rule: WordRule) -> Callable[[str], list[str]]:
    """How a rule cuts a text, as plain text."""
    normalizer, _ = load_parts(rule.normalizer, None)
    cutter = library_cutter(rule.normalizer, rule.pre_tokenizer)

    def cut(text: str) -> list[str]:
        normalised = text if normalizer is None else normalizer.normalize_str(text)
        return [cutter.to_bytes(piece).decode() for piece in cutter.cut(normalised)]

    return cut
