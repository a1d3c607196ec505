"""How long rows are, as quantiles: new rows against the source's.

Dimensions: R = rows, D = model width, Q = quantiles.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Float64

QUANTILES = np.linspace(0, 1, 101)
SCHEMA = pa.schema(
    [
        ("part", pa.string()),
        ("is_new", pa.bool_()),
        ("quantile", pa.float64()),
        ("norm", pa.float64()),
        ("n_rows", pa.int64()),
    ]
)


def norms_table(groups: Mapping[tuple[str, bool], Float32[np.ndarray, "_ D"]]) -> pa.Table:
    """Write quantiles of the norms of each group of rows that has any.

    Args:
        groups: rows by part (``input`` or ``head``) and whether they are new.

    Returns:
        ``part``, ``is_new``, ``quantile`` (0 to 1), ``norm``, ``n_rows`` of the group.
    """
    tables = [SCHEMA.empty_table()]
    for (part, is_new), rows_RD in groups.items():
        if len(rows_RD):
            norm_Q = np.quantile(norms(rows_RD), QUANTILES)
            n = len(norm_Q)
            columns = [[part] * n, [is_new] * n, QUANTILES, norm_Q, [len(rows_RD)] * n]
            named = dict(zip(SCHEMA.names, columns, strict=True))
            tables.append(pa.table(named, schema=SCHEMA))
    return pa.concat_tables(tables)


def norms(rows_RD: Float32[np.ndarray, "R D"]) -> Float64[np.ndarray, " R"]:
    """Euclidean lengths, without a copy of the rows."""
    return np.sqrt(np.einsum("rd,rd->r", rows_RD, rows_RD).astype(np.float64))
