"""Rows of special tokens that no text of the corpus holds: those of tools, and reserved ones.

A tool's token starts as the mean of the old rows of the words that say what the tool does, on the
input and on the head side: TokenLearning (2025, arXiv 2506.14248), with average pooling.

A reserved token means nothing yet. It starts as the mean of all other new rows: its logit is then
the mean of all logits, never the largest one, until someone gives it a meaning and trains it.

Dimensions: W = new vocabulary, C = model width, or 1 for a bias.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32

from tasks.embedding.row_plan import RowPlan
from tasks.embedding.rows import NewRows
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


def with_reserved_rows(rows: NewRows, plan: RowPlan) -> NewRows:
    """Give reserved tokens the mean of all other rows, whichever method made those."""
    reserved_W = plan.are("reserved")
    if not reserved_W.any():
        return rows
    bias_W = rows.head_bias
    return replace(
        rows,
        input=_replaced(rows.input, reserved_W),
        head=None if rows.head is None else _replaced(rows.head, reserved_W),
        head_bias=None if bias_W is None else _replaced(bias_W[:, None], reserved_W)[:, 0],
    )


def _replaced(
    rows_WC: Float32[np.ndarray, "W C"], reserved_W: Bool[np.ndarray, " W"]
) -> Float32[np.ndarray, "W C"]:
    replaced_WC = rows_WC.copy()
    replaced_WC[reserved_W] = rows_WC.mean(axis=0, dtype=np.float64, where=~reserved_W[:, None])
    return replaced_WC
