"""What a report shows of rows: norms, neighbours, map."""

import numpy as np
import pytest

from tasks.embedding.row_map import map_table, principal_plane
from tasks.embedding.row_neighbours import nearest_rows, neighbours_table
from tasks.embedding.row_norms import norms_table
from tasks.shared.vocabulary import Vocabulary

OLD = np.array([[1, 0], [0, 2], [3, 3], [0, 0], [-1, 0], [2, 0]], np.float32)


def random_rows(n: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


def test_neighbours_by_falling_cosine_the_lower_id_first():
    ids, cosines = nearest_rows(np.array([[5, 0], [0, -1]], np.float32), OLD, 3)
    assert ids.tolist() == [[0, 5, 2], [0, 4, 5]]
    np.testing.assert_allclose(cosines[0], [1, 1, 0.5**0.5], rtol=1e-6)
    np.testing.assert_allclose(cosines[1], 0, atol=1e-7)


def test_neighbours_do_not_depend_on_blocks_and_agree_with_a_plain_loop():
    new, old = random_rows(4, 8, 1), random_rows(50, 8, 2)
    whole_ids, whole = nearest_rows(new, old, 5)
    ids, cosines = nearest_rows(new, old, 5, block_bytes=7 * 4 * 8)
    np.testing.assert_array_equal(ids, whole_ids)
    np.testing.assert_allclose(cosines, whole, atol=1e-6)
    for row, found in zip(new.astype(float), whole_ids.tolist(), strict=True):
        cosine = [row @ o / np.linalg.norm(row) / np.linalg.norm(o) for o in old.astype(float)]
        assert found == sorted(range(50), key=lambda i: -cosine[i])[:5]


def test_neighbours_are_named_and_fewer_where_the_source_is_small():
    source = Vocabulary((b" a", b"b\xff", None), ("Ġa", "bÿ", "<s>"), {"<s>": 2}, {})
    target = Vocabulary((b" a", b" ab"), ("Ġa", "Ġab"), {}, {})
    [row] = neighbours_table(
        np.array([1]), np.array([[1, 1]], np.float32), OLD[:3], source, target, 5
    ).to_pylist()
    assert (row["id"], row["token"]) == (1, "·ab")
    assert row["neighbour_ids"] == [2, 0, 1]
    assert row["neighbours"] == ["<s>", "·a", "\\x62\\xFF"]


@pytest.mark.parametrize("shape", [(40, 6), (6, 40)])
def test_the_plane_is_that_of_the_singular_vectors(shape: tuple[int, int]):
    rows = random_rows(*shape)
    xy, shares = principal_plane(rows)
    centred = rows.astype(float) - rows.astype(float).mean(axis=0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(xy), np.abs(left[:, :2] * values[:2]), atol=1e-6)
    np.testing.assert_allclose(shares, (values**2 / (values**2).sum())[:2], atol=1e-9)
    for axis in xy.T:
        assert axis[np.argmax(np.abs(axis))] > 0


def test_a_line_has_one_axis_and_a_point_none():
    xy, shares = principal_plane(np.array([[0, 0], [1, 1], [2, 2]], np.float32))
    np.testing.assert_allclose(np.abs(xy[:, 0]), np.array([2, 0, 2]) ** 0.5, atol=1e-7)
    np.testing.assert_allclose(shares, [1, 0], atol=1e-9)
    xy, shares = principal_plane(np.ones((3, 2), np.float32))
    assert not xy.any()
    assert not shares.any()


def test_the_map_marks_new_rows_and_keeps_distances_that_lie_in_the_plane():
    old = np.array([[0, 0, 7], [4, 0, 7], [0, 1, 7]], np.float32)
    new = np.array([[4, 1, 7]], np.float32)
    table = map_table(old, new)
    assert table["is_new"].to_pylist() == [False, False, False, True]
    points = np.stack([table["x"].to_numpy(), table["y"].to_numpy()], axis=1)
    assert np.linalg.norm(points[3] - points[0]) == pytest.approx(17**0.5, rel=1e-6)
    assert table["share_x"][0].as_py() == pytest.approx(16 / 17, rel=1e-6)


def test_norms_are_quantiles_by_part_and_absent_groups_are_left_out():
    rows = np.array([[3, 4], [0, 1], [0, 0]], np.float32)
    table = norms_table({("input", False): rows, ("input", True): rows[:0]})
    assert set(table["is_new"].to_pylist()) == {False}
    by_quantile = dict(zip(table["quantile"].to_pylist(), table["norm"].to_pylist(), strict=True))
    assert len(by_quantile) == 101
    assert [by_quantile[q] for q in (0.0, 0.5, 1.0)] == [0.0, 1.0, 5.0]
    assert by_quantile[0.75] == pytest.approx(3.0)
    assert set(table["n_rows"].to_pylist()) == {3}
