"""Check rows before they are written and say in numbers what was made.

Dimensions: W = new vocabulary, D = model width.
"""

from collections import Counter

import numpy as np
from jaxtyping import Float32

from tasks.embedding.checks import Duplicates, check_rows, find_duplicates
from tasks.embedding.row_plan import RowPlan
from tasks.embedding.rows import NewRows, SourceRows


def describe(
    rows: NewRows, old: SourceRows, plan: RowPlan
) -> dict[str, int | float | str | bool | None]:
    """Summarise the rows of a vocabulary, after checking them.

    ``n_equal_rows`` and ``n_equal_head_rows`` count new tokens whose row is that of another new
    token by construction: they are made of the same old rows, or, in a head with priors, have one
    first piece and one count. They part ways in training. Other equal rows come from equal rows of
    the source and are counted as unexplained, with the first ids.

    Raises:
        BadRowsError: a row is not finite, or a made row is zero.
    """
    step_W = np.array(rows.steps)
    copied_W = step_W == "kept"
    new_W = (step_W == "made") | plan.are("new", "uncovered")
    fell_back = Counter(step_W[plan.are("new", "uncovered") & (step_W != "made")].tolist())
    check_rows("input", rows.input, ~copied_W)
    if rows.head_bias is not None:
        check_rows("head bias", rows.head_bias[:, None], np.zeros_like(copied_W))
    twins = find_duplicates(rows.input, rows.input_origins, new_W)
    summary: dict[str, int | float | str | bool | None] = {
        "n_rows": len(rows.input),
        "n_copied": int(copied_W.sum()),
        "n_initialised": int((step_W == "made").sum()),
        "n_tool_text": int(plan.are("tool_text").sum()),
        "n_reserved": int(plan.are("reserved").sum()),
        "n_fallback": fell_back.total(),
        **{f"n_fallback_{step}": n for step, n in sorted(fell_back.items())},
        "n_unassigned": int(plan.are("unassigned").sum()),
        "tied": rows.head is None,
        "untied": old.tied and rows.head is not None,
        **_equal_rows("", twins),
        "median_norm_source": _median_norm(old.input),
        "median_norm_new": _median_norm(rows.input[new_W]),
    }
    if rows.head is not None:
        check_rows("head", rows.head, ~copied_W)
        head_WD, bias_W = rows.head, rows.head_bias
        seen_WD = head_WD if bias_W is None else np.column_stack([head_WD, bias_W])
        head_twins = find_duplicates(seen_WD, rows.head_origins or rows.input_origins, new_W)
        summary |= _equal_rows("head_", head_twins)
        summary["median_norm_new_head"] = _median_norm(head_WD[new_W])
    return summary


def _equal_rows(part: str, twins: Duplicates) -> dict[str, int | str]:
    counts: dict[str, int | str] = {
        f"n_equal_{part}rows": twins.explained,
        f"n_unexplained_equal_{part}rows": len(twins.unexplained),
    }
    if twins.unexplained:
        counts[f"first_unexplained_equal_{part}rows"] = ", ".join(map(str, twins.unexplained[:5]))
    return counts


def _median_norm(rows_WD: Float32[np.ndarray, "W D"]) -> float | None:
    return float(np.median(np.linalg.norm(rows_WD, axis=1))) if len(rows_WD) else None
