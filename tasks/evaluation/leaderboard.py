"""Many ways to one goal in one table: tokenizers times initialisers, beside their controls.

A change of tokenizer is worth it only against the source model trained on with its old one: on the
same bytes, and for the same floating-point operations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from tasks.evaluation.compare import Arm, pair_rows
from tasks.evaluation.config import Contestant
from tasks.evaluation.intervals import Resampling
from tasks.evaluation.measure import METRIC_SCHEMA

SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("arm", "kind", "tokenizer", "initialiser")),
        pa.field("seed", pa.int64()),
        pa.field("is_trained", pa.bool_()),
        *METRIC_SCHEMA,
    ]
)


@dataclass(frozen=True)
class Measured:
    """One line of the leaderboard: who it is, and what was measured on it."""

    who: Contestant
    arm: Arm


def leaderboard(measured: Sequence[Measured], resampling: Resampling) -> pa.Table:
    """Put the measures of all contestants in one table, with differences to the baselines.

    Baselines of a swapped model are the source as it is and the controls of its tokenizer and seed;
    those of a control, the source.

    Args:
        measured: all on the same texts.
        resampling: of the documents that both of a pair scored.

    Returns:
        Rows of ``SCHEMA``; ``bits_per_byte_vs_X`` is an arm less X, negative where the arm is
        better.
    """
    rows = list[dict[str, Any]]()
    for one in measured:
        found = one.arm.metrics.to_pylist()
        for name, baseline in _baselines(one.who, measured).items():
            found += pair_rows(one.arm, baseline, name, resampling, with_tokens=name == "source")
        rows += [{**_columns(one.who), **row} for row in found]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _columns(who: Contestant) -> dict[str, Any]:
    return {
        "arm": who.name,
        "kind": who.kind,
        "tokenizer": who.tokenizer,
        "initialiser": who.initialiser,
        "seed": who.seed,
        "is_trained": who.is_trained,
    }


def _baselines(who: Contestant, measured: Sequence[Measured]) -> Mapping[str, Arm]:
    """Arms by the name they have in a metric."""
    if who.kind == "source":
        return {}
    found = {"source": next(m.arm for m in measured if m.who.kind == "source")}
    if who.kind != "swapped" or not who.is_trained:
        return found
    for one in measured:
        fits = one.who.tokenizer in (None, who.tokenizer)
        if one.who.kind.startswith("control") and one.who.seed == who.seed and fits:
            found[one.who.kind] = one.arm
    return found
