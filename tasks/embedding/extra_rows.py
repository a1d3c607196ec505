"""Rows of special tokens that no text of the corpus holds: those of tools, and reserved ones.

A tool's token starts as the mean of the old rows of the words that say what the tool does, on the
input and on the head side: TokenLearning (2025, arXiv 2506.14248), with average pooling.

A reserved token means nothing yet. It starts as the mean of all other new rows: its logit is then
the mean of all logits, never the largest one, until someone gives it a meaning and trains it.

Dimensions: V = old vocabulary, W = new vocabulary, C = model width, or 1 for a bias.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
from jaxtyping import Float32

from tasks.embedding.mean_of_pieces import mean_of_pieces
from tasks.embedding.row_plan import RowPlan
from tasks.embedding.rows import NewRows, SourceRows
from tasks.shared.extra_tokens import ToolToken

_WORD = re.compile(r"[^\W_]+")


def tool_texts(
    tools: Mapping[int, ToolToken], source: Literal["description", "name"]
) -> dict[int, bytes]:
    """The text that each tool token's rows start from, by its id.

    Args:
        tools: by id.
        source: ``name`` is its words alone, so that the marks around them, which all tools have,
            do not outweigh them; a name without words is taken whole.
    """
    if source == "description":
        return {i: tool.description.encode() for i, tool in tools.items()}
    return {
        i: (" ".join(_WORD.findall(tool.name)) or tool.name).encode() for i, tool in tools.items()
    }


def with_extra_rows(rows: NewRows, source: SourceRows, plan: RowPlan) -> NewRows:
    """Replace the rows of tool tokens and reserved tokens, whichever method made the others."""
    if not plan.are("tool_text", "reserved").any():
        return rows
    bias_V, bias_W = source.head_bias, rows.head_bias
    return replace(
        rows,
        input=_replaced(rows.input, source.input, plan),
        head=None if rows.head is None else _replaced(rows.head, source.head, plan),
        head_bias=None
        if bias_W is None or bias_V is None
        else _replaced(bias_W[:, None], bias_V[:, None], plan)[:, 0],
    )


def _replaced(
    rows_WC: Float32[np.ndarray, "W C"], source_VC: Float32[np.ndarray, "V C"], plan: RowPlan
) -> Float32[np.ndarray, "W C"]:
    tool_W, reserved_W = plan.are("tool_text"), plan.are("reserved")
    replaced_WC = rows_WC.copy()
    replaced_WC[tool_W] = mean_of_pieces(source_VC, plan.pieces.select(tool_W))
    replaced_WC[reserved_W] = replaced_WC.mean(axis=0, dtype=np.float64, where=~reserved_W[:, None])
    return replaced_WC
