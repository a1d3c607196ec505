"""How the compared metrics are addressed, and the order in which people read them."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from tasks.evaluation.pieces import HELDOUT

ARMS = ("source", "initial", "adapted", "control")
Key = tuple[str, str, str]
"""Model, suite, metric."""


def rows_by_key(metrics: pa.Table) -> dict[Key, dict[str, Any]]:
    """Index the rows about whole suites."""
    return {
        (row["model"], row["suite"], row["metric"]): row
        for row in metrics.to_pylist()
        if row["subset"] == "all"
    }


def arms_of(metrics: pa.Table) -> list[str]:
    """Name the models measured, in reading order."""
    present = set(metrics["model"].to_pylist())
    return [arm for arm in ARMS if arm in present]


def suites_of(metrics: pa.Table) -> list[str]:
    """Name the suites, the corpus' own held-out part first."""
    return sorted(set(metrics["suite"].to_pylist()), key=lambda suite: (suite != HELDOUT, suite))


def suite_text(suite: str) -> str:
    """Name a suite's text in a sentence."""
    return "held-out text of the corpus" if suite == HELDOUT else f"“{suite}” text"


def format_interval(row: Mapping[str, Any], spec: str) -> str:
    """Write an interval in brackets; nothing where there is none."""
    return "" if row["low"] is None else f" [{row['low']:{spec}}, {row['high']:{spec}}]"
