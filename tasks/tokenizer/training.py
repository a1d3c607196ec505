"""Train a tokenizer by the method that a config names."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tasks.shared.extra_tokens import ToolToken
from tasks.shared.scaffold_file import EXACT_VERSION, Scaffolds, is_exact
from tasks.shared.vocabulary_file import Json, TokenizerFile
from tasks.tokenizer.bpe import no_merges
from tasks.tokenizer.byte_level_file import byte_level_tokenizer
from tasks.tokenizer.carry_over import carry_post_processor, tokens_to_carry
from tasks.tokenizer.config import (
    Bpe,
    Bytes,
    CharacterBpe,
    Encoding,
    Extend,
    ScaffoldBpe,
    SupertokenBpe,
    SuperwordBpe,
)
from tasks.tokenizer.cut_words import words_of_bytes
from tasks.tokenizer.cutters import library_cutter
from tasks.tokenizer.errors import PretokensMismatchError
from tasks.tokenizer.extend import Extended, extend_tokenizer
from tasks.tokenizer.folder import read_template, write_trained
from tasks.tokenizer.learnt_sizes import learn_sizes
from tasks.tokenizer.merge_loop import Learnt, Limits
from tasks.tokenizer.padding import add_extra_tokens
from tasks.tokenizer.pruning import prune_to_source_size
from tasks.tokenizer.required_terms import require_terms
from tasks.tokenizer.scaffold import split_scaffolds
from tasks.tokenizer.superword import learn_superwords, within_stretches
from tasks.tokenizer.term_choice import choose_terms
from tasks.tokenizer.term_presets import Term
from tasks.tokenizer.trained import Config, Counted, Learned, New, Trained
from tasks.tokenizer.word_rule import WordRule, check_byte_level, cuts_nothing


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
        write_trained(place, one, source, config.exports)
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
    config: New,
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
        size: _with_source_parts(learnt, source, rule, carried) for size, learnt in by_size.items()
    }
    if isinstance(config, ScaffoldBpe):
        trained = {
            size: _with_scaffolds(one, by_size[size], len(carried), config.encoding)
            for size, one in trained.items()
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


def _with_scaffolds(
    trained: Trained, learnt: Learnt, n_special: int, encoding: Encoding
) -> Trained:
    """Say how scaffold tokens are spelled, and in the file whether they are to be."""
    tokenizer = trained.tokenizer
    if encoding == "exact":
        tokenizer = {**tokenizer, "version": EXACT_VERSION}
    return replace(trained, tokenizer=tokenizer, scaffolds=split_scaffolds(learnt, n_special))


def with_extra_tokens(trained: Trained, config: Config) -> Trained:
    """Add tool tokens and reserved ones; scaffolds stay last, so that all others are in a row."""
    tools = [ToolToken(tool.name, tool.description) for tool in config.tools]
    old = trained.scaffolds
    tokenizer, extra = add_extra_tokens(
        trained.tokenizer,
        tools,
        config.pad_to_multiple_of,
        n_last=len(old.splits) if old else 0,
        last_have_rows=not is_exact(trained.tokenizer),
    )
    moved = old and Scaffolds(
        old.n_visible + len(extra), {i + len(extra): parts for i, parts in old.splits.items()}
    )
    others = {size: with_extra_tokens(one, config) for size, one in trained.other_sizes.items()}
    return replace(trained, tokenizer=tokenizer, scaffolds=moved, extra=extra, other_sizes=others)
