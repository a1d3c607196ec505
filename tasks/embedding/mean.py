"""The mean of all old rows, as it stands or for every new token.

Source: the usual baseline, as in WECHSEL (Minixhofer et al. 2022) and Hewitt (2021), without noise.

Dimensions: V = old vocabulary, K = tokens that need rows, C = columns.
"""

import numpy as np
from jaxtyping import Float32


def mean_rows(source_VC: Float32[np.ndarray, "V C"], n_rows: int) -> Float32[np.ndarray, "K C"]:
    """Repeat the mean of all old rows, accumulated in float64.

    Args:
        source_VC: old rows (a head bias is a matrix of one column).
        n_rows: how often.
    """
    mean_C = source_VC.mean(axis=0, dtype=np.float64).astype(np.float32)
    return np.tile(mean_C, (n_rows, 1))
