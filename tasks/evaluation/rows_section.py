"""What the page says of the rows of the new vocabulary, from the tables that their stage left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from markupsafe import Markup

from tasks.evaluation.rows_plots import map_plot, norms_plot
from tasks.evaluation.token_views import Lineage
from tasks.shared.row_origins import is_fitted, without_fit

PARTS = ("input", "head")
_EDGE = 0.01
"""A row that is shorter or longer than all but this share of the old ones counts as unusual."""


@dataclass(frozen=True)
class MethodShare:
    """How many rows one method made.

    Attributes:
        method: its name; of a fallback, with the reason and the step that was taken.
        counts: rows and their share, of the input and of the head; empty where there are none.
    """

    method: str
    counts: tuple[str, ...]


@dataclass(frozen=True)
class Neighbours:
    """A new token, and the old ones whose rows point most nearly its way, with their cosines."""

    shown: str
    token_id: int
    near: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class RowsSection:
    """Everything the section shows.

    Attributes:
        parts: input, and head where it has rows of its own.
        shares: by method, the most frequent first.
        n_fitted: head rows that were fitted to text before any training of the model.
        norms: plot by part, made here and so not escaped.
        norm_sentences: the same in words.
        neighbours: of a sample of new tokens.
        map: plot, or nothing where no token is new.
        map_share: of the variance of the rows, how much the map holds.
        lineages: rows explained piece by piece.
    """

    parts: Sequence[str]
    shares: Sequence[MethodShare]
    n_fitted: int
    norms: Sequence[tuple[str, Markup]]
    norm_sentences: Sequence[str]
    neighbours: Sequence[Neighbours]
    map: Markup | None
    map_share: float
    lineages: Sequence[Lineage]


def make_rows_section(
    lineage: pa.Table,
    norms: pa.Table,
    neighbours: pa.Table,
    points: pa.Table,
    lineages: Sequence[Lineage],
) -> RowsSection:
    """Choose what the section shows.

    Args:
        lineage: the embedding stage's ``lineage.parquet``.
        norms: its ``norms.parquet``.
        neighbours: its ``neighbours.parquet``.
        points: its ``map.parquet``.
        lineages: the rows to explain piece by piece.
    """
    found = set(lineage["part"].to_pylist())
    parts = [part for part in PARTS if part in found]
    quantiles = _quantiles(norms)
    both = [part for part in parts if {(part, False), (part, True)} <= quantiles.keys()]
    has_new = any(points["is_new"].to_pylist())
    return RowsSection(
        parts=parts,
        shares=_shares(lineage, parts),
        n_fitted=sum(map(is_fitted, lineage["note"].to_pylist())),
        norms=[
            (part, Markup(norms_plot(quantiles[part, False][0], quantiles[part, True][0])))
            for part in both
        ],
        norm_sentences=[
            _norm_sentence(part, quantiles[part, False], quantiles[part, True]) for part in both
        ],
        neighbours=[
            Neighbours(
                row["token"],
                row["id"],
                tuple(zip(row["neighbours"], row["cosines"], strict=True)),
            )
            for row in neighbours.to_pylist()
        ],
        map=Markup(map_plot(points)) if has_new else None,
        map_share=points["share_x"][0].as_py() + points["share_y"][0].as_py() if has_new else 0.0,
        lineages=lineages,
    )


def _shares(lineage: pa.Table, parts: Sequence[str]) -> list[MethodShare]:
    """Count rows by part and method; fallbacks by reason too, for each may hint at a mistake."""
    methods = lineage["method"].to_pylist()
    reasons = (
        f"fallback: {without_fit(note)}" if method == "fallback" else method
        for method, note in zip(methods, lineage["note"].to_pylist(), strict=True)
    )
    named = pa.table({"part": lineage["part"], "method": pa.array(reasons, pa.string())})
    counted = named.group_by(["part", "method"]).aggregate([([], "count_all")]).to_pylist()
    counts = {(row["method"], row["part"]): row["count_all"] for row in counted}
    totals = {part: sum(n for (_, at), n in counts.items() if at == part) for part in parts}
    order = sorted(
        {method for method, _ in counts},
        key=lambda method: (*(-counts.get((method, part), 0) for part in parts), method),
    )
    return [
        MethodShare(
            method,
            tuple(_count(counts.get((method, part), 0), totals[part]) for part in parts),
        )
        for method in order
    ]


def _count(n: int, total: int) -> str:
    return f"{n:,} ({n / total:.1%})" if n else ""


def _quantiles(norms: pa.Table) -> Mapping[tuple[str, bool], tuple[np.ndarray, int]]:
    """Norms at evenly spaced quantiles, and the number of rows, by part and whether new."""
    found: dict[tuple[str, bool], tuple[list[float], int]] = {}
    for row in norms.to_pylist():
        at = (row["part"], row["is_new"])
        found.setdefault(at, ([], row["n_rows"]))[0].append(row["norm"])
    return {at: (np.array(values), n) for at, (values, n) in found.items()}


def _norm_sentence(part: str, old: tuple[np.ndarray, int], new: tuple[np.ndarray, int]) -> str:
    (old_Q, n_old), (new_Q, n_new) = old, new
    levels_Q = np.linspace(0, 1, len(old_Q))
    low, high = np.interp([_EDGE, 1 - _EDGE], levels_Q, old_Q)
    # Rows of equal length make steps, at which the share below and the share up to differ.
    n_short, n_long = np.mean(new_Q < low), np.mean(new_Q > high)
    return (
        f"{part.capitalize()}: the median length of {n_new:,} new rows is {np.median(new_Q):.3g} "
        f"and that of {n_old:,} old ones {np.median(old_Q):.3g}. About {n_short:.0%} of the new "
        f"rows are shorter than {1 - _EDGE:.0%} of the old ones, and {n_long:.0%} are longer."
    )
