"""Where every row comes from, as a table.

Dimensions: V = old vocabulary, W = new vocabulary.
"""

from typing import Literal

import numpy as np
import pyarrow as pa

from tasks.embedding.rows import NewRows, Origins
from tasks.shared.readable import readable
from tasks.shared.vocabulary import Vocabulary

SCHEMA = pa.schema(
    [
        ("id", pa.int32()),
        ("bytes", pa.binary()),
        ("text", pa.string()),
        ("part", pa.string()),
        ("method", pa.string()),
        ("source_ids", pa.list_(pa.int32())),
        ("source_tokens", pa.list_(pa.string())),
        ("weights", pa.list_(pa.float32())),
        ("note", pa.string()),
    ]
)
Part = Literal["input", "head"]


def lineage_tables(rows: NewRows, source: Vocabulary, target: Vocabulary) -> list[pa.Table]:
    """Explain each row: one table for the input, one for the head unless it is tied.

    ``text`` is the token's own string in the tokenizer, ``source_tokens`` are old tokens as a
    person reads them. ``weights`` belong to ``source_ids``. They are the whole row, unless ``note``
    says what else is in it: merge regression in a composed row, a prior in a head row.
    """
    old = zip(source.token_bytes, source.token_text, strict=True)
    old_V = pa.array([readable(data, text) for data, text in old], pa.string())
    tables = [_table("input", rows.input_origins, old_V, target)]
    if rows.head_origins is not None:
        tables.append(_table("head", rows.head_origins, old_V, target))
    return tables


def _table(part: Part, origins: Origins, old_V: pa.Array, target: Vocabulary) -> pa.Table:
    n_rows, weights = len(origins.methods), origins.weights
    offsets = pa.array(weights.offsets.astype(np.int32))
    columns = [
        pa.array(np.arange(n_rows, dtype=np.int32)),
        pa.array(target.token_bytes, pa.binary()),
        pa.array(target.token_text, pa.string()),
        pa.array([part] * n_rows),
        pa.array(origins.methods, pa.string()),
        pa.ListArray.from_arrays(offsets, pa.array(weights.ids)),
        pa.ListArray.from_arrays(offsets, old_V.take(pa.array(weights.ids))),
        pa.ListArray.from_arrays(offsets, pa.array(weights.weights)),
        pa.array(origins.notes, pa.string()),
    ]
    return pa.Table.from_arrays(columns, names=SCHEMA.names).cast(SCHEMA)
