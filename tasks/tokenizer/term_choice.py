"""The terms that a config asks to be one token each, as bytes, checked against the words rule."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tasks.tokenizer.config import TermsConfig
from tasks.tokenizer.cutters import library_cutter, load_parts
from tasks.tokenizer.required_terms import check_terms_are_words
from tasks.tokenizer.term_presets import LeadingSpace, Term, preset, spell
from tasks.tokenizer.word_rule import WordRule


@dataclass(frozen=True)
class Terms:
    """What must be one token each.

    Attributes:
        types: the kind of each by its bytes, empty for none.
        n_left_out: terms that the rule for words cuts, so that no merge joins them.
    """

    types: Mapping[bytes, str] = field(default_factory=dict)
    n_left_out: int = 0

    @property
    def required(self) -> Sequence[bytes]:
        """Their bytes, each once."""
        return list(self.types)


def choose_terms(config: TermsConfig | None, rule: WordRule, listed: Sequence[Term] = ()) -> Terms:
    """Spell the terms of a config.

    Args:
        config: which ones, and how they are spelt.
        rule: how text is cut into words.
        listed: what its files hold.

    Raises:
        TermError: the rule cuts a term that was written out or listed; it shows which.
    """
    if config is None:
        return Terms()
    cut = words_of_text(rule)
    own = _spelt([*map(Term, config.texts), *listed], config.leading_space)
    if config.if_cut == "error":
        check_terms_are_words([data for data, _ in own], cut)
    made = _spelt([term for name in config.presets for term in preset(name)], config.leading_space)
    whole = [pair for pair in [*own, *made] if cut(pair[0].decode()) == [pair[0].decode()]]
    types: dict[bytes, str] = {}
    for data, kind in whole:
        types[data] = types.get(data) or kind
    return Terms(types, len(own) + len(made) - len(whole))


def _spelt(terms: Sequence[Term], leading_space: LeadingSpace) -> list[tuple[bytes, str]]:
    return [(data, term.type) for term in terms for data in spell(term, leading_space)]


def words_of_text(rule: WordRule) -> Callable[[str], list[str]]:
    """How a rule cuts a text, as plain text."""
    normalizer, _ = load_parts(rule.normalizer, None)
    cutter = library_cutter(rule.normalizer, rule.pre_tokenizer)

    def cut(text: str) -> list[str]:
        normalised = text if normalizer is None else normalizer.normalize_str(text)
        return [cutter.to_bytes(piece).decode() for piece in cutter.cut(normalised)]

    return cut
