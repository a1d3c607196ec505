"""Rows of the old tokens nearest in one space of words of many languages.

As WECHSEL, but both vocabularies' tokens get their vectors from one set of multilingual word
vectors, so that no dictionary is needed; and the old rows may be reduced to a few dimensions
first, which new rows then vary in.
Source: OFA (Liu et al. 2024, sections 3.2 to 3.4). There the reduced rows stay apart from the
matrix that brings them to the model's width; here they are multiplied out, so that any
architecture loads them.

Dimensions: V = old vocabulary, D = model width, R = rank.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from scipy.linalg import eigh

from tasks.shared.errors import InputError


class RankError(InputError):
    """Rows cannot be reduced to as many dimensions as were asked for."""


@dataclass(frozen=True)
class LowRank:
    """Rows within a subspace."""

    rows: Float32[np.ndarray, "V D"]
    share_kept: float
    """Sum of their squares over that of the full rows."""
    coordinates: Float32[np.ndarray, "V R"]
    """Where in the subspace each is, in units of ``primitives``."""
    primitives: Float32[np.ndarray, "R D"]
    """Singular vectors times singular values; the paper's matrix of the same name."""


def low_rank(source_VD: Float32[np.ndarray, "V D"], rank: int) -> LowRank:
    """Keep the leading singular directions of the old rows, which are not centred.

    Raises:
        RankError: the rows have fewer dimensions.
    """
    width = source_VD.shape[1]
    if rank > width:
        raise RankError(f"rows of width {width} have no {rank} dimensions; lower rank.")
    gram_DD = np.zeros((width, width))
    for start in range(0, len(source_VD), 8192):
        part = source_VD[start : start + 8192].astype(np.float64)
        gram_DD += part.T @ part
    values, vectors_DR = eigh(gram_DD, subset_by_index=(width - rank, width - 1))
    directions_DR = vectors_DR.astype(np.float32)
    along_VR = source_VD @ directions_DR
    # Directions beyond the rank of the rows have no length; nothing lies along them either.
    lengths_R = np.sqrt(np.maximum(values, np.finfo(np.float32).tiny)).astype(np.float32)
    return LowRank(
        along_VR @ directions_DR.T,
        float(values.sum() / np.trace(gram_DD)),
        along_VR / lengths_R,
        lengths_R[:, None] * directions_DR.T,
    )
