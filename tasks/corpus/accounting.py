"""Every document and byte read, by the source it came from and the rule that decided on it."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from tasks.corpus.config import CorpusConfig
from tasks.corpus.errors import CorpusTooSmallError, EmptySourceError
from tasks.corpus.selection import (
    DUPLICATE_LINE,
    ENGLISH_LINE,
    KEPT,
    RULES,
    Candidates,
    Selection,
)

SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("rule", pa.string()),
        ("n_documents", pa.int64()),
        ("n_bytes", pa.int64()),
    ]
)
Tally = Counter[tuple[str, str]]
"""Numbers by (source, rule)."""


def account(
    sources: Sequence[str],
    candidates: Candidates,
    selection: Selection,
    rejected: Tally,
    rejected_bytes: Tally,
) -> pa.Table:
    """The table: in each source, ``read`` is the sum of all its other rows.

    Rules on lines drop bytes and no document, so their ``n_documents`` is 0. What a rule on
    documents drops counts with the bytes the rules on lines had left of it.

    Args:
        sources: names, in the config's order.
        candidates: the documents judged.
        selection: the judgement.
        rejected: what was dropped before it became a candidate, by source and rule.
        rejected_bytes: the same in bytes.
    """
    n_documents: Tally = Counter(rejected)
    n_bytes: Tally = Counter(rejected_bytes)
    owner = np.repeat(np.arange(len(candidates.n_lines)), candidates.n_lines)
    for index, name in enumerate(sources):
        own = candidates.source == index
        lines = own[owner]
        for code in (ENGLISH_LINE, DUPLICATE_LINE):
            dropped = candidates.line_bytes[lines & (selection.line_rule == code)]
            n_bytes[name, RULES[code]] += int(dropped.sum())
        for code, rule in enumerate(RULES):
            for heldout in (False, True):
                chosen = own & (selection.document_rule == code)
                chosen &= candidates.is_heldout == heldout
                label = ("kept_heldout" if heldout else "kept_train") if code == KEPT else rule
                n_documents[name, label] += int(chosen.sum())
                n_bytes[name, label] += int(selection.n_bytes[chosen].sum())
    rows = [
        {"source": name, "rule": rule, "n_documents": documents, "n_bytes": size}
        for name in sources
        for rule, documents, size in _rows(name, n_documents, n_bytes)
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _rows(name: str, n_documents: Tally, n_bytes: Tally) -> list[tuple[str, int, int]]:
    rules = sorted({rule for source, rule in n_documents | n_bytes if source == name})
    rows = [(rule, n_documents[name, rule], n_bytes[name, rule]) for rule in rules]
    rows = [row for row in rows if row[1] or row[2] or row[0].startswith("kept")]
    return [("read", sum(row[1] for row in rows), sum(row[2] for row in rows)), *rows]


def check(table: pa.Table, config: CorpusConfig) -> None:
    """Refuse a corpus that is not what the config promises.

    Raises:
        EmptySourceError: a source gave no text, or nothing is left to train on or hold out.
        CorpusTooSmallError: less training text is left than the budget.
    """
    n_bytes: Tally = Counter()
    for row in table.to_pylist():
        n_bytes[row["source"], row["rule"]] += row["n_bytes"]
        n_bytes["", row["rule"]] += row["n_bytes"]
    for source in config.sources:
        if not n_bytes[source.name, "read"]:
            raise EmptySourceError(
                f"source {source.name} gave no text; check its paths, format and language, or "
                "take it out."
            )
    left = n_bytes["", "kept_train"] + n_bytes["", "over_budget"]
    if config.budget_bytes is not None and left < config.budget_bytes:
        raise CorpusTooSmallError(
            f"the corpus holds {left} bytes of training text after the rules, budget_bytes asks "
            f"for {config.budget_bytes}; add sources, lower the budget, or set it to null for all."
        )
    wanted = ["kept_train"] + (["kept_heldout"] if config.heldout_fraction else [])
    for rule in wanted:
        if not n_bytes["", rule]:
            raise EmptySourceError(
                f"the rules leave no text for {rule} of {n_bytes['', 'read']} bytes read; lower "
                "min_document_bytes, change heldout_fraction, or add sources."
            )


def summarise(table: pa.Table) -> dict[str, int | float | str | bool | None]:
    """Bytes and documents by rule over all sources."""
    n_bytes: Counter[str] = Counter()
    n_documents: Counter[str] = Counter()
    for row in table.to_pylist():
        n_bytes[row["rule"]] += row["n_bytes"]
        n_documents[row["rule"]] += row["n_documents"]
    documents = {f"{rule}_documents": n_documents[rule] for rule in ("kept_train", "kept_heldout")}
    return {**documents, **{f"{rule}_bytes": count for rule, count in n_bytes.items()}}
