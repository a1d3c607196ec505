"""The files that make a tokenizer loadable with ``AutoTokenizer``."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tasks.shared.extra_tokens import ExtraTokens, ToolToken, write_extra_tokens
from tasks.shared.vocabulary_file import Json, TokenizerFile, read_json
from tasks.tokenizer.bpe import no_merges
from tasks.tokenizer.byte_level_file import byte_level_tokenizer
from tasks.tokenizer.carry_over import carry_config, carry_post_processor, tokens_to_carry
from tasks.tokenizer.config import (
    Bpe,
    Bytes,
    CharacterBpe,
    Extend,
    Pretrained,
    ScaffoldBpe,
    SupertokenBpe,
    SuperwordBpe,
)
from tasks.tokenizer.cut_words import words_of_bytes
from tasks.tokenizer.cutters import library_cutter
from tasks.tokenizer.errors import PretokensMismatchError
from tasks.tokenizer.exports import write_exports
from tasks.tokenizer.extend import Extended, extend_tokenizer
from tasks.tokenizer.learnt_sizes import learn_sizes
from tasks.tokenizer.merge_loop import Learnt, Limits
from tasks.tokenizer.padding import add_extra_tokens
from tasks.tokenizer.pretoken_counts import PretokenCounts
from tasks.tokenizer.pruning import prune_to_source_size
from tasks.tokenizer.required_terms import require_terms
from tasks.tokenizer.scaffold import split_scaffolds
from tasks.tokenizer.superword import learn_superwords, within_stretches
from tasks.tokenizer.term_choice import Terms, choose_terms
from tasks.tokenizer.term_presets import Term
from tasks.tokenizer.word_rule import WordRule, check_byte_level, cuts_nothing

_New = Bpe | ScaffoldBpe | SuperwordBpe | SupertokenBpe | CharacterBpe | Bytes
Learned = Extend | _New
Config = Learned | Pretrained

TEMPLATE = "chat_template.jinja"


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
        splits: of each scaffold token, by id, the visible tokens that spell it.
        terms: what had to be one token.
        extra: special tokens on top of what was learnt.
        dropped: of each old token that made room for a new one, by id, how often the training
            text has it.
        other_sizes: what the same run made beside it, by size of the vocabulary.
        carried: the source's special tokens that a pretrained tokenizer was given; ``None`` for
            other methods.
    """

    tokenizer: Json
    n_unwritten: int = 0
    splits: dict[int, list[int]] | None = None
    terms: Terms = field(default_factory=Terms)
    extra: ExtraTokens = field(default_factory=ExtraTokens)
    dropped: dict[int, int] = field(default_factory=dict[int, int])
    other_sizes: "dict[int, Trained]" = field(default_factory=dict[int, "Trained"])
    carried: tuple[str, ...] | None = None

    def by_folder(self, folder: Path) -> "dict[Path, Trained]":
        """All that the run made, by the folder where each belongs."""
        others = {folder / "sizes" / str(size): one for size, one in self.other_sizes.items()}
        return {folder: self, **others}


def train_in_folder(
    folder: Path,
    source: TokenizerFile,
    config: Learned,
    counted: Sequence[Counted],
    listed: Sequence[Term] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Trained:
    """Train a tokenizer by the chosen method and write its files.

    Args:
        folder: where to write.
        source: the model's own tokenizer.
        config: method and sizes.
        counted: the words to learn from; for superwords also the stretches. The new tokenizer
            cuts text by the last one's rule.
        listed: required terms that lists in files hold.
        progress: called with tokens and those wanted.
    """
    required = None if isinstance(config, Bytes) else config.required
    terms = choose_terms(required, counted[-1].rule, listed)
    if isinstance(config, Extend):
        trained = _extend(source, config, counted[0], terms.required, progress)
    else:
        trained = _train_new(source, config, counted, terms.required, progress)
    trained = with_extra_tokens(trained, config)
    for place, one in trained.by_folder(folder).items():
        place.mkdir(parents=True, exist_ok=True)
        write_tokenizer(place, one.tokenizer, source)
        write_extra_tokens(place, one.extra)
        write_exports(place, one.tokenizer, source, config.exports)
        if one.splits is not None:
            splits = json.dumps({"splits": one.splits})
            (place / "scaffold.json").write_text(splits + "\n", encoding="utf-8")
    return replace(trained, terms=terms)


def limits_of(
    config: Extend | Bpe | ScaffoldBpe | SuperwordBpe | SupertokenBpe | CharacterBpe,
    n_tokens: int,
) -> Limits:
    """The limits of the merge loop that a config asks for."""
    blocked = None if config.blocked is None else re.compile(config.blocked.encode())
    return Limits(n_tokens, config.min_frequency, config.max_token_bytes, blocked)


def _extend(
    source: TokenizerFile,
    config: Extend,
    counted: Counted,
    terms: Sequence[bytes],
    progress: Callable[[int, int], None],
) -> Trained:
    """Add tokens to the source, and take as many old ones away if it shall keep its size."""
    if not counted.rule.is_source:
        raise PretokensMismatchError(
            "method: extend continues the source's merges inside the source's own words, but "
            "the pre-tokens were counted by another rule; set pretokens.words to rule: source "
            "with digits: source."
        )
    extended = extend_tokenizer(
        source,
        counted.counts,
        config.n_new_tokens,
        limits_of(config, n_tokens=0),
        add_missing_bytes=config.add_missing_bytes,
        terms=terms,
        progress=progress,
    )
    if config.keep_size:
        return _prune(extended, terms)
    return Trained(extended.tokenizer, extended.n_unwritten)


def _prune(extended: Extended, terms: Sequence[bytes]) -> Trained:
    counts, wanted = extended.learnt.counts, set(terms)
    required = {i for i, data in enumerate(extended.learnt.token_bytes) if data in wanted}
    pruned = prune_to_source_size(extended.tokenizer, counts, extended.n_old, required)
    dropped = {i: int(counts[i]) for i in pruned.dropped}
    return Trained(pruned.tokenizer, extended.n_unwritten, dropped=dropped)


def _train_new(
    source: TokenizerFile,
    config: _New,
    counted: Sequence[Counted],
    terms: Sequence[bytes],
    progress: Callable[[int, int], None],
) -> Trained:
    """Train a new vocabulary, and the same at other sizes."""
    for one in counted:
        check_byte_level(one.rule)
    rule = counted[-1].rule
    if isinstance(config, SupertokenBpe) and not cuts_nothing(rule):
        raise PretokensMismatchError(
            "method: supertoken_bpe learns from random chunks of text, but the pre-tokens were "
            "counted by another rule; set pretokens.words to rule: random_chunks."
        )
    carried = tokens_to_carry(source, read_template(source.folder))
    if isinstance(config, Bytes):
        return _with_source_parts(no_merges(), source, rule, carried)
    hides = isinstance(config, ScaffoldBpe)
    by_size = _learn(config, counted, len(carried), progress)
    if terms:
        words = words_of_bytes(counted[-1].counts)
        by_size = {
            size: require_terms(learnt, words, size - len(carried), terms, hide_steps=hides)
            for size, learnt in by_size.items()
        }
    trained = {
        size: replace(
            _with_source_parts(learnt, source, rule, carried),
            splits=split_scaffolds(learnt, len(carried)) if hides else None,
        )
        for size, learnt in by_size.items()
    }
    return replace(trained.pop(config.vocabulary_size), other_sizes=trained)


def _learn(
    config: Bpe | ScaffoldBpe | SuperwordBpe | SupertokenBpe | CharacterBpe,
    counted: Sequence[Counted],
    n_special: int,
    progress: Callable[[int, int], None],
) -> dict[int, Learnt]:
    """Run the merge loop; gives what was learnt by size of the vocabulary."""
    words, rule = counted[0], counted[-1].rule
    limits = limits_of(config, config.vocabulary_size)
    if not isinstance(config, SuperwordBpe):
        return learn_sizes(
            words.counts,
            limits,
            config.other_sizes,
            n_special,
            scaffold=isinstance(config, ScaffoldBpe),
            progress=progress,
        )
    cutter = library_cutter(rule.normalizer, rule.pre_tokenizer)
    learnt = learn_superwords(
        within_stretches(words.counts, cutter),
        counted[1].counts,
        config.transition_size,
        limits,
        n_special,
        max_words=config.max_words,
        progress=progress,
    )
    return {config.vocabulary_size: learnt}


def _with_source_parts(
    learnt: Learnt, source: TokenizerFile, rule: WordRule, carried: Sequence[Json]
) -> Trained:
    """Put the source's special tokens and post-processor around what was learnt."""
    tokenizer = byte_level_tokenizer(learnt, rule.pre_tokenizer or {}, rule.normalizer, carried)
    tokenizer["post_processor"] = carry_post_processor(
        source.tokenizer.get("post_processor"), tokenizer["model"]["vocab"]
    )
    return Trained(tokenizer)


def with_extra_tokens(trained: Trained, config: Config) -> Trained:
    """Add tool tokens and reserved ones; scaffolds stay last, so that all others are in a row."""
    tools = [ToolToken(tool.name, tool.description) for tool in config.tools]
    n_scaffolds = len(trained.splits or ())
    tokenizer, extra = add_extra_tokens(
        trained.tokenizer, tools, config.pad_to_multiple_of, n_scaffolds
    )
    splits = trained.splits and {i + len(extra): parts for i, parts in trained.splits.items()}
    others = {size: with_extra_tokens(one, config) for size, one in trained.other_sizes.items()}
    return replace(trained, tokenizer=tokenizer, splits=splits, extra=extra, other_sizes=others)


def write_tokenizer(folder: Path, tokenizer: Json, source: TokenizerFile) -> None:
    """Write ``tokenizer.json``, ``tokenizer_config.json`` and the chat template."""
    config = carry_config(read_config(source.folder), source, set(tokenizer["model"]["vocab"]))
    write_files(folder, tokenizer, config, source.folder / TEMPLATE)


def write_files(folder: Path, tokenizer: Json, config: Json, template: Path) -> None:
    """Write ``tokenizer.json``, ``tokenizer_config.json`` and a copy of the template, if any."""
    _write_json(folder / "tokenizer.json", tokenizer)
    _write_json(folder / "tokenizer_config.json", config)
    if template.exists():
        (folder / TEMPLATE).write_bytes(template.read_bytes())


def _write_json(path: Path, value: Json) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
