"""Which documents and lines are kept, and which rule drops the others.

Rules in their order; each sees only what those before it left:

1. ``too_long``: the document exceeds the maximum;
2. ``duplicate_document``: the same text stands in another one;
3. ``english_line``: the line also stands in the source's English edition;
4. ``duplicate_line``: the line, if long enough, has been seen: held-out documents come first, so no
   such line of theirs is left in training text;
5. ``too_short``: what is left of the document is below the minimum;
6. ``over_budget``: the training documents before it fill the budget.

Dimensions: N = documents, L = lines of all documents in their order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int8, Int64, UInt32, UInt64

RULES = (
    "kept",
    "too_long",
    "duplicate_document",
    "english_line",
    "duplicate_line",
    "too_short",
    "over_budget",
)
KEPT, TOO_LONG, DUPLICATE_DOCUMENT, ENGLISH_LINE, DUPLICATE_LINE, TOO_SHORT, OVER_BUDGET = range(7)


@dataclass(frozen=True)
class Candidates:
    """All extracted documents, without their text."""

    ids: Sequence[str]
    source: Int64[np.ndarray, " N"]
    """Index of each document's source, in the config's order."""
    order: UInt64[np.ndarray, " N"]
    is_heldout: Bool[np.ndarray, " N"]
    n_lines: Int64[np.ndarray, " N"]
    line_hash: UInt64[np.ndarray, " L"]
    line_bytes: UInt32[np.ndarray, " L"]


@dataclass(frozen=True)
class Selection:
    """The rule that decided on each document and line; an index into ``RULES``."""

    document_rule: Int8[np.ndarray, " N"]
    line_rule: Int8[np.ndarray, " L"]
    """Of the lines of documents that survive; lines of dropped documents carry any rule."""
    n_bytes: Int64[np.ndarray, " N"]
    """Bytes of each document after the rules on lines."""


@dataclass(frozen=True)
class Limits:
    """The numbers in the rules."""

    min_document_bytes: int
    max_document_bytes: int
    duplicate_line_min_bytes: int | None
    budget_bytes: int | None


def select(
    candidates: Candidates,
    english: Mapping[int, UInt64[np.ndarray, " E"]],
    limits: Limits,
) -> Selection:
    """Apply the rules.

    Args:
        candidates: documents in any order; the outcome does not depend on it.
        english: hashes of the lines of a source's English edition, by source index.
        limits: the numbers.
    """
    owner = np.repeat(np.arange(len(candidates.n_lines)), candidates.n_lines)
    size = _sum_by_document(candidates.line_bytes, owner, len(candidates.ids))
    rule = np.where(size > limits.max_document_bytes, TOO_LONG, KEPT).astype(np.int8)
    place = _places(candidates)
    rule[(rule == KEPT) & _is_repeated(candidates.ids, place)] = DUPLICATE_DOCUMENT

    line_rule = np.zeros(len(owner), dtype=np.int8)
    has_text = candidates.line_hash != 0
    for source, hashes in english.items():
        suspects = has_text & (candidates.source[owner] == source)
        line_rule[suspects & np.isin(candidates.line_hash, hashes)] = ENGLISH_LINE
    if limits.duplicate_line_min_bytes is not None:
        judged = (line_rule == KEPT) & (rule[owner] == KEPT) & has_text
        judged &= candidates.line_bytes >= limits.duplicate_line_min_bytes
        line_rule[_repeated_lines(candidates.line_hash, place[owner], judged)] = DUPLICATE_LINE

    left = _sum_by_document(
        np.where(line_rule == KEPT, candidates.line_bytes, 0), owner, len(candidates.ids)
    )
    rule[(rule == KEPT) & (left < limits.min_document_bytes)] = TOO_SHORT
    if limits.budget_bytes is not None:
        train = np.flatnonzero((rule == KEPT) & ~candidates.is_heldout)
        train = train[np.argsort(place[train])]
        before = np.cumsum(left[train]) - left[train]
        rule[train[before >= limits.budget_bytes]] = OVER_BUDGET
    return Selection(rule, line_rule, left)


def _places(candidates: Candidates) -> Int64[np.ndarray, " N"]:
    """Rank of each document: held-out ones first, then by hash, then by source."""
    ids = np.array(candidates.ids, dtype="S32")
    ranked = np.lexsort((candidates.source, ids, candidates.order, ~candidates.is_heldout))
    place = np.empty(len(ranked), dtype=np.int64)
    place[ranked] = np.arange(len(ranked))
    return place


def _is_repeated(ids: Sequence[str], place: Int64[np.ndarray, " N"]) -> Bool[np.ndarray, " N"]:
    ranked = np.argsort(place)
    _, first = np.unique(np.array(ids, dtype="S32")[ranked], return_index=True)
    repeated = np.ones(len(place), dtype=bool)
    repeated[ranked[first]] = False
    return repeated


def _repeated_lines(
    line_hash: UInt64[np.ndarray, " L"],
    line_place: Int64[np.ndarray, " L"],
    judged: Bool[np.ndarray, " L"],
) -> Int64[np.ndarray, " R"]:
    """Indices of judged lines whose hash an earlier judged line has."""
    lines = np.flatnonzero(judged)
    lines = lines[np.lexsort((lines, line_place[lines], line_hash[lines]))]
    hashes = line_hash[lines]
    same_as_before = np.zeros(len(lines), dtype=bool)
    same_as_before[1:] = hashes[1:] == hashes[:-1]
    return lines[same_as_before]


def _sum_by_document(
    values: np.ndarray, owner: Int64[np.ndarray, " L"], n_documents: int
) -> Int64[np.ndarray, " N"]:
    return np.bincount(owner, weights=values, minlength=n_documents).astype(np.int64)
