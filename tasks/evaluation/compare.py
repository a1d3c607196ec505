"""Models side by side on the same texts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tasks.evaluation.intervals import (
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
        for name in _BASELINES.get(arm.name, ()):
            if name in by_name:
                with_tokens = name == "source" and arm.name != "control"
                found = pair_rows(arm, by_name[name], name, resampling, with_tokens=with_tokens)
                rows += [{"model": arm.name, **row} for row in found]
    return pa.Table.from_pylist(rows, schema=COMPARED_SCHEMA)


def pair_rows(
    arm: Arm, baseline: Arm, baseline_name: str, resampling: Resampling, *, with_tokens: bool
) -> list[dict[str, object]]:
    """What only a pair of arms has, by suite and subset: rows of ``METRIC_SCHEMA``.

    Args:
        arm: whose differences are wanted.
        baseline: what it is compared with.
        baseline_name: as the metric is to name it.
        resampling: of the documents that both scored.
        with_tokens: also the share of the baseline's tokens that the arm does without.

    Raises:
        NotComparableError: the two were measured on different texts.
    """
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
        metric = f"bits_per_byte_vs_{baseline_name}"
        rows.append(metric_row(suite, subset, metric, difference, "bits/byte"))
        if with_tokens:
            saved = saved_share(a.n_tokens, b.n_tokens, resampling)
            rows.append(metric_row(suite, subset, "tokens_saved", saved, "share"))
    return rows
