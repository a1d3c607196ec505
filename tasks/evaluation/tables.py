"""Tables of the evaluation that are neither metrics nor documents."""

from collections.abc import Iterable, Sequence

import pyarrow as pa

from tasks.evaluation.generation import Continuation
from tasks.evaluation.pieces import Document


def read_documents(tables: Iterable[pa.Table]) -> list[Document]:
    """Take held-out documents out of a corpus' tables."""
    return [
        Document(row["doc_id"], row["source"], row["suite"], row["text"])
        for table in tables
        for row in table.select(["doc_id", "source", "suite", "text"]).to_pylist()
    ]


def continuations_table(continuations: Sequence[Continuation]) -> pa.Table:
    """One row a prompt."""
    return pa.table(
        {
            "prompt": pa.array([c.prompt for c in continuations], pa.string()),
            "continuation": pa.array([c.text for c in continuations], pa.string()),
            "n_tokens": pa.array([c.n_tokens for c in continuations], pa.int64()),
        }
    )


def timings_table(continuations: Sequence[Continuation]) -> pa.Table:
    """Generation speed over all prompts; empty where nothing was generated."""
    rows: list[dict[str, object]] = []
    if continuations:
        seconds = sum(c.seconds for c in continuations)
        for unit, amount in (
            ("characters/s", sum(len(c.text) for c in continuations)),
            ("tokens/s", sum(c.n_tokens for c in continuations)),
        ):
            rows.append(
                {"metric": "generation_speed", "value": amount / seconds, "unit": unit,
                 "n": len(continuations)}
            )  # fmt: skip
    schema = pa.schema(
        {"metric": pa.string(), "value": pa.float64(), "unit": pa.string(), "n": pa.int64()}
    )
    return pa.Table.from_pylist(rows, schema=schema)
