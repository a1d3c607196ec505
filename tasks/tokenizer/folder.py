"""The files that make a tokenizer loadable with ``AutoTokenizer``."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tasks.shared.scaffold_file import EXACT_VERSION, Scaffolds, is_exact, write_scaffolds
from tasks.shared.vocabulary_file import Json, TokenizerFile, read_json
from tasks.tokenizer.bpe import learn_vocabulary, no_merges
from tasks.tokenizer.byte_level_file import byte_level_tokenizer
from tasks.tokenizer.carry_over import carry_config, carry_post_processor, tokens_to_carry
from tasks.tokenizer.config import Bpe, Bytes, CharacterBpe, Extend, ScaffoldBpe, SuperwordBpe
from tasks.tokenizer.cut_words import words_of_bytes
from tasks.tokenizer.cutters import library_cutter
from tasks.tokenizer.errors import PretokensMismatchError
from tasks.tokenizer.exports import write_exports
from tasks.tokenizer.extend import extend_tokenizer
from tasks.tokenizer.merge_loop import Limits
from tasks.tokenizer.pretoken_counts import PretokenCounts
from tasks.tokenizer.required_terms import require_terms
from tasks.tokenizer.scaffold import split_scaffolds
from tasks.tokenizer.superword import learn_superwords, within_stretches
from tasks.tokenizer.term_choice import Terms, choose_terms
from tasks.tokenizer.word_rule import WordRule, check_byte_level

Config = Extend | Bpe | ScaffoldBpe | SuperwordBpe | CharacterBpe | Bytes

TEMPLATE = "chat_template.jinja"
_EXACT_CLASS = "ScaffoldTokenizer"


def read_config(folder: Path) -> Json:
    """Read ``tokenizer_config.json``, empty where there is none."""
    path = folder / "tokenizer_config.json"
    return read_json(path) if path.exists() else {}


def read_template(folder: Path) -> str:
    """Read the chat template from its file or from the config; empty where there is none."""
    path = folder / TEMPLATE
    if path.exists():
        return path.read_text(encoding="utf-8")
    template: Any = read_config(folder).get("chat_template") or ""
    # Older folders hold a list of named templates.
    return template if isinstance(template, str) else json.dumps(template, ensure_ascii=False)


@dataclass(frozen=True)
class Counted:
    """Words of the training text, and how it was cut into them."""

    rule: WordRule
    counts: PretokenCounts


@dataclass(frozen=True)
class Trained:
    """What a method made.

    Attributes:
        tokenizer: ``tokenizer.json``.
        n_unwritten: words of the text that an extended source cannot write.
        scaffolds: of Scaffold-BPE, by which visible tokens its scaffold tokens are spelled.
        terms: what had to be one token.
    """

    tokenizer: Json
    n_unwritten: int = 0
    scaffolds: Scaffolds | None = None
    terms: Terms = field(default_factory=Terms)


def train_in_folder(
    folder: Path,
    source: TokenizerFile,
    config: Config,
    counted: Sequence[Counted],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Trained:
    """Train a tokenizer by the chosen method and write its files.

    Args:
        folder: where to write.
        source: the model's own tokenizer.
        config: method and sizes.
        counted: the words to learn from; for superwords also the stretches. The new tokenizer
            cuts text by the last one's rule.
        progress: called with tokens and those wanted.
    """
    rule, counts = counted[0].rule, counted[0].counts
    required = None if isinstance(config, Bytes) else config.required
    terms = choose_terms(required, counted[-1].rule)
    if isinstance(config, Extend):
        if not rule.is_source:
            raise PretokensMismatchError(
                "method: extend continues the source's merges inside the source's own words, but "
                "the pre-tokens were counted by another rule; set pretokens.words to rule: source "
                "with digits: source."
            )
        extended = extend_tokenizer(
            source,
            counts,
            config.n_new_tokens,
            limits_of(config, n_tokens=0),
            add_missing_bytes=config.add_missing_bytes,
            terms=terms.required,
            progress=progress,
        )
        trained = Trained(extended.tokenizer, extended.n_unwritten)
    else:
        trained = _train_new(source, config, counted, terms.required, progress)
    write_tokenizer(folder, trained.tokenizer, source)
    if trained.scaffolds is not None:
        write_scaffolds(folder, trained.scaffolds)
    write_exports(folder, trained.tokenizer, source, config.exports)
    return replace(trained, terms=terms)


def limits_of(
    config: Extend | Bpe | ScaffoldBpe | SuperwordBpe | CharacterBpe, n_tokens: int
) -> Limits:
    """The limits of the merge loop that a config asks for."""
    blocked = None if config.blocked is None else re.compile(config.blocked.encode())
    return Limits(n_tokens, config.min_frequency, config.max_token_bytes, blocked)


def _train_new(
    source: TokenizerFile,
    config: Bpe | ScaffoldBpe | SuperwordBpe | CharacterBpe | Bytes,
    counted: Sequence[Counted],
    terms: Sequence[bytes],
    progress: Callable[[int, int], None],
) -> Trained:
    """Train the new vocabulary and put the source's special tokens and post-processor around it."""
    for one in counted:
        check_byte_level(one.rule)
    words, rule = counted[0], counted[-1].rule
    carried = tokens_to_carry(source, read_template(source.folder))
    if isinstance(config, Bytes):
        learnt = no_merges()
    elif isinstance(config, SuperwordBpe):
        cutter = library_cutter(rule.normalizer, rule.pre_tokenizer)
        learnt = learn_superwords(
            within_stretches(words.counts, cutter),
            counted[1].counts,
            config.transition_size,
            limits_of(config, config.vocabulary_size),
            len(carried),
            max_words=config.max_words,
            progress=progress,
        )
    else:
        learnt = learn_vocabulary(
            words.counts,
            limits_of(config, config.vocabulary_size),
            len(carried),
            scaffold=isinstance(config, ScaffoldBpe),
            progress=progress,
        )
    if terms and not isinstance(config, Bytes):
        learnt = require_terms(
            learnt,
            words_of_bytes(counted[-1].counts),
            config.vocabulary_size - len(carried),
            terms,
            hide_steps=isinstance(config, ScaffoldBpe),
        )
    trained = byte_level_tokenizer(learnt, rule.pre_tokenizer or {}, rule.normalizer, carried)
    trained["post_processor"] = carry_post_processor(
        source.tokenizer.get("post_processor"), trained["model"]["vocab"]
    )
    if not isinstance(config, ScaffoldBpe):
        return Trained(trained)
    if config.encoding == "exact":
        trained["version"] = EXACT_VERSION
    return Trained(trained, scaffolds=split_scaffolds(learnt, len(carried)))


def write_tokenizer(folder: Path, tokenizer: Json, source: TokenizerFile) -> None:
    """Write ``tokenizer.json``, ``tokenizer_config.json``, the chat template and needed code."""
    config = carry_config(read_config(source.folder), source, set(tokenizer["model"]["vocab"]))
    if is_exact(tokenizer):
        module = Path(__file__).with_name("tokenization_scaffold.py")
        (folder / module.name).write_bytes(module.read_bytes())
        # The second of the two is the class for a tokenizer.json.
        auto_map = {"AutoTokenizer": [None, f"{module.stem}.{_EXACT_CLASS}"]}
        config |= {"tokenizer_class": _EXACT_CLASS, "auto_map": auto_map}
    _write_json(folder / "tokenizer.json", tokenizer)
    _write_json(folder / "tokenizer_config.json", config)
    template = source.folder / TEMPLATE
    if template.exists():
        (folder / TEMPLATE).write_bytes(template.read_bytes())


def _write_json(path: Path, value: Json) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
