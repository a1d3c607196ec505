"""Where every row comes from, as a table.

Dimensions: W = new vocabulary, P = all pieces.
"""

from typing import Literal

import numpy as np
import pyarrow as pa

from tasks.embedding.row_plan import RowPlan
from tasks.embedding.rows import NewRows
from tasks.shared.vocabulary import Vocabulary

SCHEMA = pa.schema(
    [
        ("id", pa.int32()),
        ("bytes", pa.binary()),
        ("part", pa.string()),
        ("method", pa.string()),
        ("source_ids", pa.list_(pa.int32())),
        ("weights", pa.list_(pa.float32())),
        ("note", pa.string()),
    ]
)
Part = Literal["input", "head"]
MEAN_OF_ALL = "mean of all old rows"


def lineage_tables(
    plan: RowPlan, rows: NewRows, source: Vocabulary, target: Vocabulary
) -> list[pa.Table]:
    """Explain each row: one table for the input, one for the head unless it is tied.

    ``weights`` belong to ``source_ids``. They are the whole row for copied rows and means; of a
    composed row they are the half that is a mean of pieces, of a head row with a prior the first
    piece, and ``note`` says what is added.
    """
    tables = [_table("input", plan, rows, target, source)]
    if rows.head is not None:
        tables.append(_table("head", plan, rows, target, source))
    return tables


def _table(
    part: Part, plan: RowPlan, rows: NewRows, target: Vocabulary, source: Vocabulary
) -> pa.Table:
    n_rows = len(rows.input)
    has_prior = part == "head" and rows.prior is not None
    lengths_W = plan.pieces.lengths
    if has_prior:
        # The first piece alone, but for tools, whose head rows are means too.
        n_kept_W = np.where(plan.are("tool_text"), lengths_W, np.minimum(lengths_W, 1))
        place_P = np.arange(len(plan.pieces.ids)) - np.repeat(plan.pieces.offsets[:-1], lengths_W)
        ids_P = plan.pieces.ids[place_P < np.repeat(n_kept_W, lengths_W)]
        lengths_W, share_W = n_kept_W, np.ones(n_rows)
    else:
        ids_P = plan.pieces.ids
        share_W = np.where(plan.are("new"), rows.mean_share, 1.0)
    weights_P = np.repeat(share_W / np.maximum(lengths_W, 1), lengths_W).astype(np.float32)
    offsets = pa.array(np.append(0, np.cumsum(lengths_W)).astype(np.int32))
    methods, notes = zip(
        *(_explain(part, i, plan, rows, target, source) for i in range(n_rows)), strict=True
    )
    columns = [
        pa.array(np.arange(n_rows, dtype=np.int32)),
        pa.array(target.token_bytes, pa.binary()),
        pa.array([part] * n_rows),
        pa.array(methods),
        pa.ListArray.from_arrays(offsets, pa.array(ids_P)),
        pa.ListArray.from_arrays(offsets, pa.array(weights_P)),
        pa.array(notes),
    ]
    return pa.Table.from_arrays(columns, names=SCHEMA.names).cast(SCHEMA)


def _explain(
    part: Part, token: int, plan: RowPlan, rows: NewRows, target: Vocabulary, source: Vocabulary
) -> tuple[str, str]:
    """Name the method of one row and say in words what ids and weights leave out."""
    kind, prior_W = plan.kinds[token], rows.prior
    if kind == "unassigned":
        return "fallback", f"no token has this id; {MEAN_OF_ALL}"
    if kind == "uncovered":
        return "fallback", f"the source has no pieces for it; {MEAN_OF_ALL}"
    if kind == "tool_text":
        return kind, "mean of the pieces of what the tool is for"
    if kind == "reserved":
        return kind, "mean of all other new rows"
    if kind in ("special_role", "special_text"):
        return kind, f"{target.token_text[token]} takes {source.token_text[plan.match[token]]}"
    if part == "head" and prior_W is not None:
        first = source.token_text[plan.pieces.ids[plan.pieces.offsets[token]]]
        return "prefix_prior", f"logit + log P(token | {first}) = {prior_W[token]:.4f}"
    if kind == "copied":
        return "copied", ""
    if prior_W is not None:
        return "composed", "plus merge regression over the token's merges"
    return "mean_of_pieces", ""
