"""What a report shows of the rows: lengths, near old tokens, a map.

Dimensions: S = tokens to draw from, L = tokens drawn.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from tasks.embedding.known import Known
from tasks.embedding.row_map import map_table
from tasks.embedding.row_neighbours import neighbours_table
from tasks.embedding.row_norms import norms_table
from tasks.embedding.rows import NewRows

N_LISTED, N_NEIGHBOURS = 24, 5
N_OLD_ON_MAP, N_NEW_ON_MAP = 2000, 1000
_SEED = 0


def row_views(known: Known, rows: NewRows) -> Mapping[str, pa.Table]:
    """Make the tables ``neighbours``, ``map`` and ``norms``.

    New rows are those of tokens that the source does not have; samples are drawn from a fixed
    seed. Neighbours and map are of input rows.
    """
    n_old = len(known.source)  # rows behind are padding
    old_VD = known.rows.input[:n_old]
    new = np.flatnonzero(known.plan.are("new", "uncovered", "tool_text"))
    listed, mapped = _sample(new, N_LISTED, 0), _sample(new, N_NEW_ON_MAP, 1)
    old = _sample(np.arange(n_old), N_OLD_ON_MAP, 2)
    groups = {("input", False): old_VD, ("input", True): rows.input[new]}
    if rows.head is not None:
        groups |= {("head", False): known.rows.head[:n_old], ("head", True): rows.head[new]}
    return {
        "neighbours": neighbours_table(
            listed, rows.input[listed], old_VD, known.source, known.target, N_NEIGHBOURS
        ),
        "map": map_table(old_VD[old], rows.input[mapped]),
        "norms": norms_table(groups),
    }


def _sample(ids: Int64[np.ndarray, " S"], n: int, stream: int) -> Int64[np.ndarray, " L"]:
    """Draw without repeats, in ascending order."""
    if len(ids) <= n:
        return ids
    return np.sort(np.random.default_rng([_SEED, stream]).choice(ids, n, replace=False))
