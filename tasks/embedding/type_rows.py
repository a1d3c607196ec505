"""Rows of terms of one semantic type, brought towards what they have in common.

A drug that the source model never met still starts as a drug: K-Tokeniser (2023) adds terms by the
semantic type of a medical thesaurus. How it makes their rows could not be read there; a share of
the type's mean row is the plain form of it.

Dimensions: W = new vocabulary, C = model width, T = tokens of one type.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Int64

from tasks.embedding.row_plan import RowPlan
from tasks.embedding.row_weights import RowWeights
from tasks.embedding.rows import NewRows, Origins

TYPE_MEAN = "type_mean"
"""Method of a row that is its type's mean and nothing else."""


@dataclass(frozen=True)
class _Type:
    """Tokens of one type."""

    name: str
    members: Int64[np.ndarray, " T"]
    new: Int64[np.ndarray, " N"]
    """Those without a row in the source model."""


def with_type_means(
    rows: NewRows, plan: RowPlan, type_of: Mapping[int, str], share: float, *, of_head: bool
) -> NewRows:
    """Mix new rows with the mean of their type: ``(1 - share) * own + share * mean``.

    Args:
        rows: as the initialiser made them. Old rows count in a type's mean and stay as they are.
        plan: what each new token is to the source.
        type_of: semantic type by new id; tokens without one are left alone.
        share: from 0 to 1.
        of_head: also in a head of its own; where head rows are those of first pieces with their
            prior, mixing would take away what makes them add up.
    """
    members: dict[str, list[int]] = {}
    for token, name in sorted(type_of.items()):
        members.setdefault(name, []).append(token)
    types = [
        _Type(name, np.array(tokens), np.intersect1d(tokens, plan.needed))
        for name, tokens in members.items()
        if len(tokens) > 1
    ]
    if not share or not types:
        return rows
    mixed = replace(
        rows,
        input=_mixed(rows.input, types, share),
        input_origins=_told(rows.input_origins, types, share),
    )
    if rows.head is None or rows.head_origins is None or not of_head:
        return mixed
    head, origins = _mixed(rows.head, types, share), _told(rows.head_origins, types, share)
    return replace(mixed, head=head, head_origins=origins)


def _mixed(
    rows_WC: Float32[np.ndarray, "W C"], types: list[_Type], share: float
) -> Float32[np.ndarray, "W C"]:
    mixed_WC = rows_WC.copy()
    for each in types:
        mean_C = rows_WC[each.members].mean(axis=0, dtype=np.float64)
        mixed_WC[each.new] = (1 - share) * rows_WC[each.new] + share * mean_C
    return mixed_WC


def _told(origins: Origins, types: list[_Type], share: float) -> Origins:
    """What is left of the row's own sum, and what came to it."""
    methods, notes = list(origins.methods), list(origins.notes)
    left_W = np.ones(len(methods), np.float32)
    for each in types:
        added = f"{share:g} of the mean of {len(each.members)} rows of type {each.name}"
        for token in each.new.tolist():
            left_W[token] = 1 - share
            notes[token] = "; ".join(part for part in (notes[token], added) if part)
            methods[token] = methods[token] if share < 1 else TYPE_MEAN
    own = origins.weights
    of_P = np.repeat(np.arange(len(methods)), own.lengths)
    kept_P = left_W[of_P] > 0
    lengths_W = np.where(left_W > 0, own.lengths, 0)
    weights = RowWeights(
        own.ids[kept_P],
        (own.weights * left_W[of_P])[kept_P],
        np.append(0, np.cumsum(lengths_W)).astype(np.int64),
    )
    return Origins(tuple(methods), weights, tuple(notes))
