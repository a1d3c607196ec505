"""The largest values of each row of a wide table, without sorting or copying the table.

Columns are dealt into groups, and only the groups with the largest maxima are looked into: a value
outside them is below the maxima of n groups, so it is none of the n largest. Reading a table once
for the maxima costs a tenth of a partial sort of it.

Dimensions: B = rows, U = columns, N = largest values, G = groups, M = columns a group,
C = candidates.
"""

import numpy as np
from jaxtyping import Float32, Int64

MIN_GROUP = 4
"""Columns a group from which on looking at maxima first saves time."""


def largest(values_BU: Float32[np.ndarray, "B U"], n: int) -> Int64[np.ndarray, "B N"]:
    """Find columns of the n largest values of each row, falling; ties by the lower column."""
    if n == 1:
        return values_BU.argmax(axis=1)[:, None]
    n_columns = values_BU.shape[1]
    # As many values to partially sort among maxima as among candidates.
    group = int((n_columns / n) ** 0.5)
    if group < MIN_GROUP:
        return _sorted_out(values_BU, n)
    n_groups = n_columns // group
    # Group g has every n_groups-th column from g on, so that maxima are taken of whole lines.
    grouped_BMG = values_BU[:, : n_groups * group].reshape(len(values_BU), group, n_groups)
    maxima_BG = grouped_BMG.max(axis=1)
    groups_BN = np.argpartition(maxima_BG, n_groups - n, axis=1)[:, n_groups - n :]
    groups_BN.sort(axis=1)
    columns_BC = np.arange(0, n_groups * group, n_groups)[:, None] + groups_BN[:, None, :]
    rest_BC = np.arange(n_groups * group, n_columns) + np.zeros((len(values_BU), 1), np.int64)
    columns_BC = np.concatenate([columns_BC.reshape(len(values_BU), n * group), rest_BC], axis=1)
    best_BN = _sorted_out(np.take_along_axis(values_BU, columns_BC, axis=1), n)
    best_BN = np.take_along_axis(columns_BC, best_BN, axis=1)
    # Where maxima tie for the last place, a group left out may hold a value that is wanted.
    least_B1 = np.take_along_axis(maxima_BG, groups_BN, axis=1).min(axis=1, keepdims=True)
    tied = np.flatnonzero((maxima_BG >= least_B1).sum(axis=1) > n)
    best_BN[tied] = _sorted_out(values_BU[tied], n)
    return best_BN


def _sorted_out(values_BU: Float32[np.ndarray, "B U"], n: int) -> Int64[np.ndarray, "B N"]:
    """Do the same by a partial sort of all columns."""
    n_columns = values_BU.shape[1]
    best_BN = np.argpartition(values_BU, n_columns - n, axis=1)[:, n_columns - n :]
    least_B1 = np.take_along_axis(values_BU, best_BN, axis=1).min(axis=1, keepdims=True)
    # The partition takes any of those that tie for the last place.
    for row in np.flatnonzero((values_BU >= least_B1).sum(axis=1) > n):
        candidates = np.flatnonzero(values_BU[row] >= least_B1[row])
        order = np.argsort(-values_BU[row, candidates], kind="stable")
        best_BN[row] = candidates[order[:n]]
    best_BN.sort(axis=1)
    order_BN = np.argsort(-np.take_along_axis(values_BU, best_BN, axis=1), axis=1, kind="stable")
    return np.take_along_axis(best_BN, order_BN, axis=1)
