"""Rows as points in a plane: their two principal components (Pearson 1901; Hotelling 1933).

Dimensions: R = rows, D = model width, N = the smaller of the two.
"""

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Float64
from scipy.linalg import eigh


def principal_plane(
    rows_RD: Float32[np.ndarray, "R D"],
) -> tuple[Float64[np.ndarray, "R 2"], Float64[np.ndarray, " 2"]]:
    """Put rows where they differ most; the mean of all is the origin.

    The sign of an axis means nothing; here the point farthest out on it lies on the positive side,
    so that equal rows give equal maps.

    Returns:
        Coordinates, and which share of the variance each axis holds; zeros for an axis along
        which nothing differs.
    """
    centred_RD = rows_RD - rows_RD.mean(axis=0, dtype=np.float64)
    n_rows, width = centred_RD.shape
    n = min(n_rows, width)
    xy_R2, shares_2 = np.zeros((n_rows, 2)), np.zeros(2)
    total = float(np.einsum("rd,rd->", centred_RD, centred_RD))
    if total == 0:
        return xy_R2, shares_2
    # The smaller of the two squares has the same eigenvalues.
    by_rows = n_rows < width
    square_NN = centred_RD @ centred_RD.T if by_rows else centred_RD.T @ centred_RD
    values, vectors = eigh(square_NN, subset_by_index=(max(0, n - 2), n - 1))
    for axis, (value, vector) in enumerate(zip(values[::-1], vectors.T[::-1], strict=True)):
        spread = max(0.0, float(value))
        along_R = np.sqrt(spread) * vector if by_rows else centred_RD @ vector
        farthest = along_R[np.argmax(np.abs(along_R))]
        xy_R2[:, axis] = along_R * (-1.0 if farthest < 0 else 1.0)
        shares_2[axis] = spread / total
    return xy_R2, shares_2


def map_table(old_RD: Float32[np.ndarray, "_ D"], new_RD: Float32[np.ndarray, "_ D"]) -> pa.Table:
    """Lay a sample of old and a sample of new rows into one plane.

    Returns:
        A line a row, old ones first: ``x``, ``y``, ``is_new``, and on every line the shares of the
        variance that the axes hold, ``share_x`` and ``share_y``.
    """
    xy_R2, shares_2 = principal_plane(np.concatenate([old_RD, new_RD]))
    return pa.table(
        {
            "x": xy_R2[:, 0].astype(np.float32),
            "y": xy_R2[:, 1].astype(np.float32),
            "is_new": np.arange(len(xy_R2)) >= len(old_RD),
            "share_x": np.full(len(xy_R2), shares_2[0], np.float32),
            "share_y": np.full(len(xy_R2), shares_2[1], np.float32),
        }
    )
