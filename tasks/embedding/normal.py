"""Rows drawn at random like old rows.

Sources: per dimension, the fallback of WECHSEL (Minixhofer et al. 2022) and FOCUS (Dobler and
de Melo 2023); with full covariance, Hewitt, "Initializing new word embeddings for pretrained
language models" (2021).

Dimensions: V = old vocabulary, K = tokens that need rows, C = columns.
"""

import numpy as np
from jaxtyping import Float32
from scipy.linalg import eigh

BLOCK = 4096


def normal_rows(
    source_VC: Float32[np.ndarray, "V C"], n_rows: int, rng: np.random.Generator
) -> Float32[np.ndarray, "K C"]:
    """Draw each column by itself, with the old column's mean and standard deviation.

    Args:
        source_VC: old rows (a head bias is a matrix of one column).
        n_rows: how many to draw.
        rng: source of the draw.
    """
    mean_C = source_VC.mean(axis=0, dtype=np.float64)
    std_C = source_VC.std(axis=0, dtype=np.float64)
    made_KC = np.empty((n_rows, source_VC.shape[1]), np.float32)
    for start in range(0, n_rows, BLOCK):
        part = made_KC[start : start + BLOCK]
        part[:] = mean_C + std_C * rng.standard_normal(part.shape)
    return made_KC


def multivariate_normal_rows(
    source_VC: Float32[np.ndarray, "V C"],
    n_rows: int,
    covariance_scale: float,
    rng: np.random.Generator,
) -> Float32[np.ndarray, "K C"]:
    """Draw rows with the old rows' mean and a multiple of their covariance.

    The covariance is split into its eigenvectors, so it may be singular, as it is when there are
    fewer old rows than columns; eigenvalues that rounding left below zero count as zero.

    Args:
        source_VC: old rows (a head bias is a matrix of one column).
        n_rows: how many to draw.
        covariance_scale: the multiple; at 0 every row is the mean.
        rng: source of the draw.
    """
    mean_C = source_VC.mean(axis=0, dtype=np.float64)
    n_columns = source_VC.shape[1]
    covariance_CC = np.zeros((n_columns, n_columns))
    for start in range(0, len(source_VC), BLOCK):
        centred = source_VC[start : start + BLOCK] - mean_C
        covariance_CC += centred.T @ centred
    values_C, vectors_CC = eigh(covariance_CC / len(source_VC))
    spread_CC = np.sqrt(covariance_scale * np.maximum(values_C, 0))[:, None] * vectors_CC.T
    made_KC = np.empty((n_rows, n_columns), np.float32)
    for start in range(0, n_rows, BLOCK):
        part = made_KC[start : start + BLOCK]
        part[:] = mean_C + rng.standard_normal(part.shape) @ spread_CC
    return made_KC
