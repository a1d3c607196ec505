"""What the page says of the tokenizer itself, from the tables that its stage left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Int64
from markupsafe import Markup

from tasks.evaluation.token_views import pieces_of_text
from tasks.evaluation.tokenizer_metrics import MetricLine, metric_lines
from tasks.evaluation.tokenizer_plots import lengths_in_text_plot, rank_frequency_plot, sizes_plot
from tasks.shared.readable import readable
from tasks.shared.text_tokenizer import TextTokenizer
from tasks.shared.vocabulary import Vocabulary

_RESIDUE_BELOW = 0.1
"""A token that is left in fewer of the cases in which it is made counts as a residue."""


@dataclass(frozen=True)
class ListedToken:
    """A token in a list, its id, and the numbers that put it there."""

    shown: str
    token_id: int
    numbers: tuple[str, ...]


@dataclass(frozen=True)
class Residues:
    """Tokens that are mostly merged further, among the half that is made most often.

    Attributes:
        listed: those with the lowest final ratio, with the ratio and how often they are made.
        n_frequent: how many tokens that half holds.
        n_low: how many of them are residues.
        below: the final ratio that makes a token one.
    """

    listed: Sequence[ListedToken]
    n_frequent: int
    n_low: int
    below: float


@dataclass(frozen=True)
class SizesShown:
    """Costs by size, the cheapest size, and why it is."""

    table: pa.Table
    best: int
    reason: str


@dataclass(frozen=True)
class TokenizerSection:
    """Everything the section shows.

    Attributes:
        lines: metrics, old and new.
        plots: SVG, made here and so not escaped: ranks, lengths, and sizes where these are known.
        size_reason: which size of the vocabulary costs least, in words.
        longest: heading and tokens with their bytes, of the old and of the new vocabulary.
        residues: of the new vocabulary.
        unreachable: the first new-vocabulary tokens that no text has.
        n_unreachable: how many there are.
        tokenised: name of the tokenizer and the pieces of one and the same paragraph.
        dropped: old tokens that made room for new ones, with how often the training text had
            them, the most frequent first.
        n_dropped: how many there are.
        other_sizes: size, bytes a token and folder of other vocabularies of the same run.
    """

    lines: Sequence[MetricLine]
    plots: Mapping[str, Markup]
    size_reason: str
    longest: Sequence[tuple[str, Sequence[ListedToken]]]
    residues: Residues
    unreachable: Sequence[ListedToken]
    n_unreachable: int
    tokenised: Sequence[tuple[str, Sequence[str]]]
    dropped: Sequence[ListedToken]
    n_dropped: int
    other_sizes: Sequence[tuple[str, str, str]]


def make_section(
    metrics: pa.Table,
    tokens: pa.Table,
    source_counts: Int64[np.ndarray, " V"],
    source: tuple[Vocabulary, TextTokenizer],
    target: tuple[Vocabulary, TextTokenizer],
    paragraph: str,
    n_listed: int,
    sizes: SizesShown | None = None,
    dropped: pa.Table | None = None,
    other_sizes: pa.Table | None = None,
) -> TokenizerSection:
    """Choose what the section shows.

    Args:
        metrics: the tokenizer stage's ``metrics.parquet``, of ``source`` and ``new``.
        tokens: its ``vocabulary.parquet`` with the columns count, made and final_ratio.
        source_counts: how often the counted text has each id of the source.
        source: the old tokenizer.
        target: the new one.
        paragraph: a text to show as both cut it.
        n_listed: length of each list.
        sizes: costs by size of the vocabulary, where they could be reckoned.
        dropped: ``dropped.parquet``, where old tokens made room.
        other_sizes: ``other_sizes.parquet``, where other sizes were written.
    """
    named = (("Old tokenizer", source), ("New tokenizer", target))
    old_lengths, new_lengths = (_lengths(vocabulary) for _, (vocabulary, _) in named)
    new_counts = tokens["count"].to_numpy()
    lost = np.flatnonzero(~tokens["reachable"].to_numpy(zero_copy_only=False))
    return TokenizerSection(
        lines=metric_lines(metrics, ("source", "new")),
        plots={
            "ranks": Markup(rank_frequency_plot(source_counts, new_counts)),
            "lengths": Markup(
                lengths_in_text_plot(old_lengths, source_counts, new_lengths, new_counts)
            ),
            **({} if sizes is None else {"sizes": Markup(sizes_plot(sizes.table, sizes.best))}),
        },
        size_reason="" if sizes is None else sizes.reason,
        longest=[(name, _longest(vocabulary, n_listed)) for name, (vocabulary, _) in named],
        residues=_residues(target[0], tokens, n_listed),
        unreachable=[_listed(target[0], token_id) for token_id in lost[:n_listed].tolist()],
        n_unreachable=len(lost),
        tokenised=[
            (name, pieces_of_text(voc, tokenizer.encode(paragraph, add_special_tokens=False).ids))
            for name, (voc, tokenizer) in named
        ],
        dropped=[] if dropped is None else _dropped(source[0], dropped, n_listed),
        n_dropped=0 if dropped is None else dropped.num_rows,
        other_sizes=[] if other_sizes is None else _other_sizes(other_sizes),
    )


def _dropped(source: Vocabulary, dropped: pa.Table, n_listed: int) -> list[ListedToken]:
    counts = dropped["count"].to_numpy()
    order = np.argsort(-counts, kind="stable")[:n_listed]
    ids = dropped["id"].to_numpy()
    return [_listed(source, int(ids[row]), f"{counts[row]:,}") for row in order]


def _other_sizes(table: pa.Table) -> list[tuple[str, str, str]]:
    return [
        (
            f"{row['vocabulary_size']:,}",
            "" if row["bytes_per_token"] is None else f"{row['bytes_per_token']:.2f}",
            row["folder"],
        )
        for row in table.to_pylist()
    ]


def _longest(vocabulary: Vocabulary, n_listed: int) -> list[ListedToken]:
    lengths = _lengths(vocabulary)
    order = np.argsort(-lengths, kind="stable")[:n_listed].tolist()
    return [_listed(vocabulary, i, str(lengths[i])) for i in order if lengths[i]]


def _residues(vocabulary: Vocabulary, tokens: pa.Table, n_listed: int) -> Residues:
    """Find merged tokens that are made often and left seldom."""
    ratios = tokens["final_ratio"].to_numpy(zero_copy_only=False).astype(np.float64)
    made = tokens["made"].to_numpy(zero_copy_only=False).astype(np.float64)
    formation = np.array(tokens["formation"].to_pylist(), dtype=np.str_)
    merged = np.flatnonzero((formation == "merge") & ~np.isnan(ratios))
    frequent = merged[np.argsort(-made[merged], kind="stable")][: (len(merged) + 1) // 2]
    order = frequent[np.argsort(ratios[frequent], kind="stable")]
    listed = [
        _listed(vocabulary, i, f"{ratios[i]:.1%}", f"{made[i]:,.0f}")
        for i in order[:n_listed].tolist()
    ]
    n_low = int(np.sum(ratios[frequent] < _RESIDUE_BELOW))
    return Residues(listed, len(frequent), n_low, _RESIDUE_BELOW)


def _listed(vocabulary: Vocabulary, token_id: int, *numbers: str) -> ListedToken:
    shown = readable(vocabulary.token_bytes[token_id], vocabulary.token_text[token_id])
    return ListedToken(shown, token_id, numbers)


def _lengths(vocabulary: Vocabulary) -> Int64[np.ndarray, " V"]:
    return np.array([len(data or b"") for data in vocabulary.token_bytes], dtype=np.int64)
