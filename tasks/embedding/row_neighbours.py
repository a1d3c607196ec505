"""The old tokens whose input rows point in nearly the same direction as a new token's.

A glance at a sample of them says whether an initialiser put new words near words of their meaning.

Dimensions: V = old vocabulary, K = new tokens of the sample, D = model width, N = neighbours.
"""

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int64

from tasks.embedding.largest import largest
from tasks.embedding.nearest_tokens import unit_rows
from tasks.shared.readable import readable
from tasks.shared.vocabulary import Vocabulary

BLOCK_BYTES = 2**27
"""Size of the old rows that are brought to length one at once."""


def nearest_rows(
    new_KD: Float32[np.ndarray, "K D"],
    old_VD: Float32[np.ndarray, "V D"],
    n_neighbours: int,
    block_bytes: int = BLOCK_BYTES,
) -> tuple[Int64[np.ndarray, "K N"], Float32[np.ndarray, "K N"]]:
    """Find old rows by falling cosine, the lower id first where two tie.

    Args:
        new_KD: a few rows; all their cosines are held at once.
        old_VD: all old rows, read block by block. Rows of zeros point nowhere and come last.
        n_neighbours: how many to find, or all old rows where there are fewer.
        block_bytes: bound on the old rows at hand; changes no result but for rounding.

    Returns:
        Old ids and their cosines.
    """
    unit_KD = unit_rows(new_KD)
    block = max(1, block_bytes // (4 * old_VD.shape[1]))
    cosines_KV = np.empty((len(new_KD), len(old_VD)), np.float32)
    for start in range(0, len(old_VD), block):
        part = slice(start, start + block)
        cosines_KV[:, part] = unit_KD @ unit_rows(old_VD[part]).T
    cosines_KV[:, ~old_VD.any(axis=1)] = -1
    ids_KN = largest(cosines_KV, min(n_neighbours, len(old_VD)))
    return ids_KN, np.take_along_axis(cosines_KV, ids_KN, axis=1)


def neighbours_table(
    ids_K: Int64[np.ndarray, " K"],
    new_KD: Float32[np.ndarray, "K D"],
    old_VD: Float32[np.ndarray, "V D"],
    source: Vocabulary,
    target: Vocabulary,
    n_neighbours: int,
) -> pa.Table:
    """List new tokens with their nearest old ones.

    Args:
        ids_K: ids of the new tokens.
        new_KD: their input rows.
        old_VD: all old input rows.
        source: names the old tokens.
        target: names the new ones.
        n_neighbours: how many old tokens to list for each.
    """
    near_KN, cosines_KN = nearest_rows(new_KD, old_VD, n_neighbours)
    columns = {
        "id": pa.array(ids_K.astype(np.int32)),
        "token": pa.array([_shown(target, i) for i in ids_K.tolist()], pa.string()),
        "neighbour_ids": pa.array(near_KN.tolist(), pa.list_(pa.int32())),
        "neighbours": pa.array(
            [[_shown(source, i) for i in row] for row in near_KN.tolist()], pa.list_(pa.string())
        ),
        "cosines": pa.array(cosines_KN.tolist(), pa.list_(pa.float32())),
    }
    return pa.table(columns)


def _shown(vocabulary: Vocabulary, token_id: int) -> str:
    return readable(vocabulary.token_bytes[token_id], vocabulary.token_text[token_id])
