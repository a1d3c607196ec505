"""The largest values of each row, found by the maxima of groups of columns."""

import numpy as np
import pytest

from tasks.embedding.largest import MIN_GROUP, largest


def by_sorting(values_BU: np.ndarray, n: int) -> np.ndarray:
    return np.argsort(-values_BU, axis=1, kind="stable")[:, :n]


def test_by_hand():
    values_BU = np.array([[1, 5, 2, 5, 3], [9, 9, 9, 9, 9]], np.float32)
    assert largest(values_BU, 2).tolist() == [[1, 3], [0, 1]]


@pytest.mark.parametrize("n", [1, 3, 10])
@pytest.mark.parametrize("n_columns", [10, 500, 1009])
@pytest.mark.parametrize("decimals", [0, 1, 7])
def test_the_same_columns_as_sorting_the_whole_row_also_where_values_tie(n, n_columns, decimals):
    draw = np.random.default_rng(0)
    values_BU = draw.standard_normal((40, n_columns)).round(decimals).astype(np.float32)
    np.testing.assert_array_equal(largest(values_BU, n), by_sorting(values_BU, n))


def test_all_in_one_group_and_in_the_columns_that_fill_no_group():
    n, n_columns = 3, 302
    values_BU = np.zeros((2, n_columns), np.float32)
    group = int((n_columns / n) ** 0.5)
    n_groups = n_columns // group
    assert group > MIN_GROUP
    assert n_columns > n_groups * group
    values_BU[0, 5::n_groups] = np.arange(1, len(values_BU[0, 5::n_groups]) + 1)
    values_BU[1, -2:] = [2, 1]
    np.testing.assert_array_equal(largest(values_BU, n), by_sorting(values_BU, n))


def test_equal_rows_and_no_rows():
    assert largest(np.zeros((2, 400), np.float32), 4).tolist() == [[0, 1, 2, 3]] * 2
    assert largest(np.zeros((0, 400), np.float32), 4).shape == (0, 4)
