"""Models side by side on the same texts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tasks.evaluation.intervals import (
    Estimate,
    Resampling,
    bits_per_byte_difference,
    saved_share,
)
from tasks.evaluation.measure import METRIC_SCHEMA, metric_row, subsets, to_units
from tasks.shared.errors import InputError

COMPARED_SCHEMA = pa.schema([pa.field("model", pa.string()), *METRIC_SCHEMA])


ARM_TABLES = ("metrics", "documents", "continuations", "timings")
"""Files of a measured model, in the order of ``Arm``."""


_BASELINES = {"initial": ("source",), "adapted": ("source", "control"), "control": ("source",)}


class NotComparableError(InputError):
    """Two models were not measured on the same texts."""


@dataclass(frozen=True)
class Arm:
    """One measured model."""

    name: str
    metrics: pa.Table
    documents: pa.Table
    continuations: pa.Table
    timings: pa.Table


def compare(arms: Sequence[Arm], resampling: Resampling) -> pa.Table:
    """Put all arms' metrics in one table and add what only a pair has.

    Args:
        arms: named ``source``, ``initial``, ``adapted`` and perhaps ``control``.
        resampling: of the documents that both of a pair scored.

    Returns:
        The metrics with ``model`` first; ``bits_per_byte_vs_X`` is a model less model X, and
        ``tokens_saved`` the share of the source's tokens that the new tokenizer does without.
    """
    by_name = {arm.name: arm for arm in arms}
    rows = [{"model": arm.name, **row} for arm in arms for row in arm.metrics.to_pylist()]
    for arm in arms:
        for baseline in _BASELINES.get(arm.name, ()):
            if baseline in by_name:
                rows += _pair_rows(arm, by_name[baseline], resampling)
    return pa.Table.from_pylist(rows, schema=COMPARED_SCHEMA)


def _pair_rows(arm: Arm, baseline: Arm, resampling: Resampling) -> list[dict[str, object]]:
    ours, theirs = arm.documents, baseline.documents
    for column in ("doc_id", "piece", "n_bytes"):
        if not ours[column].equals(theirs[column]):
            raise NotComparableError(
                f"The {arm.name} and {baseline.name} models were measured on different texts "
                f"({ours.num_rows} and {theirs.num_rows} pieces); measure both with one "
                "evaluation config and one corpus."
            )
    both = np.asarray(ours["nats"].is_valid()) & np.asarray(theirs["nats"].is_valid())
    ours, theirs = ours.filter(pa.array(both)), theirs.filter(pa.array(both))
    rows: list[dict[str, object]] = []
    for (suite, subset, mine), (_, _, base) in zip(subsets(ours), subsets(theirs), strict=True):
        a, b = to_units(mine), to_units(base)
        difference = bits_per_byte_difference(a.nats, b.nats, a.n_bytes, resampling)
        metric = f"bits_per_byte_vs_{baseline.name}"
        rows.append(_row(arm.name, suite, subset, metric, difference, "bits/byte"))
        if baseline.name == "source" and arm.name != "control":
            saved = saved_share(a.n_tokens, b.n_tokens, resampling)
            rows.append(_row(arm.name, suite, subset, "tokens_saved", saved, "share"))
    return rows


def _row(
    model: str, suite: str, subset: str, metric: str, estimate: Estimate, unit: str
) -> dict[str, object]:
    return {"model": model, **metric_row(suite, subset, metric, estimate, unit)}
