"""What a new tokenizer turned out to be, and whether it keeps its promises."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from tasks.shared.byte_alphabet import BYTE_CHARACTERS
from tasks.shared.model_shape import ModelShape
from tasks.shared.scaffold_file import Scaffolds
from tasks.shared.segmentation import Segmenter
from tasks.shared.text_tokenizer import TextTokenizer, open_tokenizer
from tasks.shared.vocabulary_codec import ByteLevel, codec_of
from tasks.shared.vocabulary_file import TokenizerFile, read_tokenizer_file, unfold
from tasks.shared.vocabulary_matching import NO_MATCH, match_ids
from tasks.shared.vocabulary_reading import vocabulary_of, whole_vocabulary_of
from tasks.shared.vocabulary_record import Vocabulary
from tasks.tokenizer.checks import check_extension, check_ids, check_same_size
from tasks.tokenizer.config import Bpe, CharacterBpe, Extend, SupertokenBpe
from tasks.tokenizer.intrinsic import CountedTokens, count_tokens_of, intrinsic_metrics
from tasks.tokenizer.merge_loop import Words
from tasks.tokenizer.metric_table import Metric, metrics_table
from tasks.tokenizer.other_sizes import other_sizes_table
from tasks.tokenizer.reachability import find_reachable
from tasks.tokenizer.recut import has_long_words, recut
from tasks.tokenizer.residue import final_and_made, ids_of_bytes
from tasks.tokenizer.scaffold_agreement import agreement_metrics
from tasks.tokenizer.size_sweep import Sweep, sweep_sizes
from tasks.tokenizer.tables import (
    TokenUse,
    counts_table,
    dropped_table,
    merges_table,
    vocabulary_table,
)
from tasks.tokenizer.token_kinds import vocabulary_metrics
from tasks.tokenizer.trained import Config, Counted, Trained
from tasks.tokenizer.vocabulary_size import SizeChoice
from tasks.tokenizer.word_rule import WordRule

SUITE = "heldout"
_RARE_BELOW = 10


@dataclass(frozen=True)
class Description:
    """Tables by file name, and numbers for people."""

    tables: dict[str, pa.Table]
    summary: dict[str, int | float | str | None]


def describe_tokenizer(
    folder: Path,
    source: TokenizerFile,
    config: Config,
    trained: Trained,
    counted_words: Counted | None,
    sample: Sequence[str],
    shape: ModelShape | None,
) -> Description:
    """Check a new tokenizer, describe its tokens and measure it beside its source.

    Args:
        folder: where it was written.
        source: the tokenizer it was made from.
        config: how it was made.
        trained: what the method said of it.
        counted_words: what it was made from, cut as it cuts text; ``None`` if it was not learnt.
        sample: held-out texts.
        shape: the model's sizes; ``None`` where costs cannot be reckoned with them.

    Raises:
        BrokenTokenizerError: it is not what its method promises.
    """
    file = read_tokenizer_file(folder)
    old, new = vocabulary_of(source), vocabulary_of(file)
    tokenizer, old_tokenizer = open_tokenizer(folder), open_tokenizer(source.folder)
    check_ids(tokenizer, new)
    if isinstance(config, Extend):
        _check_extended(config, old, new, trained)
    source_ids_W = match_ids(old, new)
    reachable_W = find_reachable(tokenizer, Segmenter(folder), new, _sees_text_as_it_is(file))
    counted = {
        "source": count_tokens_of(old_tokenizer, old, sample),
        "new": count_tokens_of(tokenizer, new, sample),
    }
    use = TokenUse(counted["new"].counts, *_left_and_made(file, counted_words))
    is_new_W = source_ids_W == NO_MATCH
    scaffolds = frozenset(trained.scaffolds.splits if trained.scaffolds else ())
    agreement = _agreement(tokenizer, trained.scaffolds, sample)
    tables = {
        "vocabulary": vocabulary_table(
            new,
            source_ids_W,
            reachable_W,
            scaffolds,
            trained.extra,
            use,
            trained.terms.types,
        ),
        "merges": merges_table(new),
        "metrics": pa.concat_tables(
            [
                intrinsic_metrics(SUITE, sample, counted, _RARE_BELOW),
                metrics_table(agreement),
                vocabulary_metrics({"source": (old, None), "new": (new, reachable_W)}),
            ]
        ),
        "source_counts": counts_table(counted["source"].counts),
    }
    choice = (
        None
        if counted_words is None
        else _size_choice(
            config, old, new, counted_words.rule, sample, counted["source"].n_tokens, shape
        )
    )
    if choice is not None:
        tables["sizes"] = choice.table
    if trained.dropped:
        tables["dropped"] = dropped_table(old, trained.dropped)
    if trained.other_sizes:
        tables["other_sizes"] = other_sizes_table(folder, trained.other_sizes, sample)
    n_bytes = sum(len(text.encode()) for text in sample)
    summary: dict[str, int | float | str | None] = {
        "vocabulary_size": len(new),
        "source_vocabulary_size": len(old),
        "n_new_tokens": int(np.sum(is_new_W)),
        "bytes_per_token": _bytes_per_token(n_bytes, counted["new"]),
        "source_bytes_per_token": _bytes_per_token(n_bytes, counted["source"]),
        "n_scaffolds": len(scaffolds),
        "n_tools": len(trained.extra.tools),
        "n_reserved": len(trained.extra.reserved),
        "n_unreachable": int(np.sum(~reachable_W)),
        "n_unreachable_new": int(np.sum(~reachable_W & is_new_W)),
        "n_dropped": len(trained.dropped),
        "n_other_sizes": len(trained.other_sizes),
        "n_missing_bytes": _count_missing_bytes(new),
        "n_unwritten_words": trained.n_unwritten,
        "n_required_terms": len(trained.terms.required),
        "n_terms_left_out": trained.terms.n_left_out,
        "recommended_size": None if choice is None else choice.recommended,
        "recommended_size_reason": None if choice is None else choice.reason,
    } | {metric.metric: metric.value for metric in agreement}
    if trained.carried is not None:
        summary["carried_from_source"] = ", ".join(trained.carried) or "none"
    return Description(tables, summary)


def _check_extended(config: Extend, old: Vocabulary, new: Vocabulary, trained: Trained) -> None:
    if config.keep_size:
        check_same_size(old, new, config.n_new_tokens, trained.dropped, len(trained.extra))
    else:
        check_extension(old, new, config.n_new_tokens, len(trained.extra))


def _size_choice(
    config: Config,
    old: Vocabulary,
    new: Vocabulary,
    rule: WordRule,
    sample: Sequence[str],
    n_source_tokens: int,
    shape: ModelShape | None,
) -> SizeChoice | None:
    """Costs by size; ``None`` where smaller vocabularies are no prefixes, or nothing is known."""
    if shape is None or not sample or not _has_prefixes(config):
        return None
    if not any(part.get("type") == "ByteLevel" for part in unfold(rule.pre_tokenizer)):
        return None
    n_kept_merges = len(old.merges) if isinstance(config, Extend) else 0
    made = {result for _, _, result in new.merges[n_kept_merges:]}
    earlier = {result for _, _, result in new.merges[:n_kept_merges]}
    sweep = Sweep(new, n_kept_merges, len(new) - len(made - earlier))
    return sweep_sizes(sweep, rule, sample, n_source_tokens, shape)


def _has_prefixes(config: Config) -> bool:
    """Whether the first merges are a smaller vocabulary of the same kind."""
    if isinstance(config, Extend):
        return not config.keep_size
    return isinstance(config, (Bpe, SupertokenBpe, CharacterBpe))


def _agreement(
    tokenizer: TextTokenizer, scaffolds: Scaffolds | None, sample: Sequence[str]
) -> list[Metric]:
    if scaffolds is None:
        return []
    return agreement_metrics(SUITE, "new", tokenizer, scaffolds, sample)


def _left_and_made(
    file: TokenizerFile, words: Counted | None
) -> tuple[Int64[np.ndarray, " W"], Int64[np.ndarray, " W"]]:
    """How often the words leave each token, and how often it is there on the way."""
    left, made = _merged(file, whole_vocabulary_of(file), words)
    if file.scaffolds is None:
        return left, made
    for scaffold, parts in file.scaffolds.splits.items():
        np.add.at(left, parts, left[scaffold])
        np.add.at(made, parts, left[scaffold])
    return left[: file.scaffolds.n_visible], made[: file.scaffolds.n_visible]


def _merged(
    file: TokenizerFile, vocabulary: Vocabulary, words: Counted | None
) -> tuple[Int64[np.ndarray, " E"], Int64[np.ndarray, " E"]]:
    """The same before scaffold tokens are split."""
    if words is None or not isinstance(codec_of(file), ByteLevel):
        nothing = np.zeros(len(vocabulary), np.int64)
        return nothing, nothing
    counts = words.counts
    merges_M3 = np.array(vocabulary.merges, np.int32).reshape(-1, 3)
    ids = ids_of_bytes(vocabulary)[counts.data]
    of_bytes = Words(ids, counts.starts, counts.counts)
    if has_long_words(of_bytes):
        cut = recut(of_bytes, merges_M3, len(vocabulary))
        there = np.bincount(
            ids, np.repeat(counts.counts, np.diff(counts.starts)), minlength=len(vocabulary)
        )
        return cut.counts, cut.made + there.astype(np.int64)
    return final_and_made(ids, counts.starts, counts.counts, merges_M3, len(vocabulary))


def _bytes_per_token(n_bytes: int, counted: CountedTokens) -> float | None:
    return n_bytes / counted.n_tokens if counted.n_tokens else None


def _sees_text_as_it_is(file: TokenizerFile) -> bool:
    adds_space = any(
        part.get("add_prefix_space") for part in unfold(file.tokenizer.get("pre_tokenizer"))
    )
    return isinstance(codec_of(file), ByteLevel) and not adds_space


def _count_missing_bytes(vocabulary: Vocabulary) -> int:
    single = {data for data in vocabulary.token_bytes if data is not None and len(data) == 1}
    return len(BYTE_CHARACTERS) - len(single)
