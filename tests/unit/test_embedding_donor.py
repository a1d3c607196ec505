"""Rows by way of a donor: matching pursuit, interpolation, a linear map."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from tasks.embedding.anchors import (
    Anchors,
    DonorLacksTokensError,
    TooFewAnchorsError,
    check_donor_covers,
)
from tasks.embedding.interpolation import interpolate
from tasks.embedding.least_squares import map_rows
from tasks.embedding.omp import omp, pursue

FROZEN = Path(__file__).parent.parent / "data" / "embedding" / "mergekit.safetensors"
WEIGHTINGS = {
    "inverse_distance": "distance_proportional",
    "barycentric": "barycentric",
    "least_squares": "least_squares",
}


def rows(n: int, width: int, seed: int) -> np.ndarray:
    """Rows of differing length around a common direction, as models have them."""
    draw = np.random.default_rng(seed)
    made = draw.standard_normal((n, width)) + draw.standard_normal(width)
    return (made * draw.uniform(0.5, 2.0, (n, 1))).astype(np.float32)


def make_anchors(n: int = 300, donor_width: int = 40, width: int = 24) -> Anchors:
    ids = np.random.default_rng(9).permutation(2 * n)[:n].astype(np.int32)
    return Anchors(rows(n, donor_width, 1), rows(n, width, 2), ids)


def textbook(target: np.ndarray, atoms: np.ndarray, k: int) -> tuple[list[int], np.ndarray]:
    """Matching pursuit word for word, with a new least-squares fit each step."""
    target, atoms = target.astype(np.float64), atoms.astype(np.float64)
    chosen: list[int] = []
    weights, rest = np.zeros(0), target
    for _ in range(k):
        scores = np.abs(atoms @ rest)
        scores[chosen] = -1
        chosen.append(int(scores.argmax()))
        weights = np.linalg.lstsq(atoms[chosen].T, target, rcond=None)[0]
        rest = target - atoms[chosen].T @ weights
    return chosen, weights


@pytest.mark.parametrize("width", [40, 200])
@pytest.mark.parametrize("normalised", [False, True])
def test_pursuit_is_the_textbook_one(width: int, normalised: bool):
    targets, atoms = rows(30, width, 3), rows(700, width, 4)
    unit = atoms / np.linalg.norm(atoms, axis=1, keepdims=True) if normalised else atoms
    found = pursue(targets, atoms, 12, normalised=normalised)
    for row, target in enumerate(targets):
        chosen, weights = textbook(target, unit, 12)
        assert found.anchors[row].tolist() == chosen
        scale = np.linalg.norm(atoms[chosen], axis=1) if normalised else 1.0
        np.testing.assert_allclose(found.weights[row], weights / scale, rtol=1e-3, atol=1e-5)


def test_by_hand():
    """The largest product is with (2, 0), then (0, 1) takes what is left."""
    atoms = np.array([[2, 0], [0, 1]], np.float32)
    found = pursue(np.array([[4, 1]], np.float32), atoms, 2)
    assert found.anchors.tolist() == [[0, 1]]
    np.testing.assert_allclose(found.weights, [[2, 1]], rtol=1e-5)


def test_long_anchors_come_first_unless_normalised():
    target = np.array([[1, 0.2, 0]], np.float32)
    atoms = np.array([[1, 0.2, 0], [10, 10, 10]], np.float32)
    assert pursue(target, atoms, 1).anchors.tolist() == [[1]]
    assert pursue(target, atoms, 1, normalised=True).anchors.tolist() == [[0]]


def test_target_equal_to_an_anchor_returns_it():
    anchors = make_anchors()
    weights, left = omp(anchors.donor[:20], anchors, 5, normalised=True)
    assert weights.ids[weights.offsets[:-1]].tolist() == anchors.ids[:20].tolist()
    np.testing.assert_allclose(weights.rows(np.eye(600, dtype=np.float32)).max(axis=1), 1, 1e-5)
    assert left.max() < 1e-5


def test_as_many_anchors_as_dimensions_are_exact():
    targets, atoms = rows(20, 32, 5), rows(400, 32, 6)
    found = pursue(targets, atoms, 32)
    made = np.einsum("kn,knc->kc", found.weights, atoms[found.anchors])
    np.testing.assert_allclose(made, targets, atol=2e-3)


def test_residual_falls_with_k_and_says_what_is_left():
    targets, atoms = rows(20, 48, 5), rows(400, 48, 6)
    norms = []
    for k in (1, 2, 4, 8, 16):
        found = pursue(targets, atoms, k)
        made = np.einsum("kn,knc->kc", found.weights, atoms[found.anchors])
        np.testing.assert_allclose(
            found.residual, np.linalg.norm(targets - made, axis=1), rtol=1e-3, atol=1e-4
        )
        norms.append(found.residual)
    assert (np.diff(np.array(norms), axis=0) < 0).all()


def test_same_whatever_the_block():
    targets, atoms = rows(300, 64, 7), rows(900, 64, 8)
    whole, parts = pursue(targets, atoms, 9), pursue(targets, atoms, 9, block=7)
    assert (whole.anchors == parts.anchors).all()
    np.testing.assert_array_equal(whole.weights, parts.weights)
    np.testing.assert_array_equal(whole.residual, parts.residual)


def test_memory_is_bounded_whatever_k_and_width(monkeypatch: pytest.MonkeyPatch):
    targets, atoms = rows(256, 96, 7), rows(300, 96, 8)
    whole = pursue(targets, atoms, 64)
    monkeypatch.setattr("tasks.embedding.omp.BLOCK_BYTES", 400_000)
    done: list[int] = []
    tracemalloc.start()
    parts = pursue(targets, atoms, 64, progress=lambda so_far, _: done.append(so_far))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert done[:2] == [9, 18]
    assert done[-1] == 256
    assert peak < 2_000_000, "all at once: 6.3 MB of basis, 4.2 MB of factors"
    np.testing.assert_array_equal(whole.weights, parts.weights)


def test_products_of_whole_numbers_are_exact():
    """The search stands on this operation of torch."""
    draw = np.random.default_rng(0)
    left, right = (draw.integers(-127, 128, (n, 640), dtype=np.int8) for n in (19, 70))
    made = torch._int_mm(torch.from_numpy(left), torch.from_numpy(right).T).numpy()
    assert (made == left.astype(np.int32) @ right.astype(np.int32).T).all()


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("weighting", list(WEIGHTINGS))
def test_an_anchor_is_interpolated_by_itself(metric: str, weighting: str):
    anchors = make_anchors()
    made = interpolate(anchors.donor[:30], anchors, 6, metric, weighting)
    assert made.ids[made.offsets[:-1]].tolist() == anchors.ids[:30].tolist()
    if metric == "euclidean" or weighting != "inverse_distance":
        table = made.rows(np.eye(600, dtype=np.float32))
        np.testing.assert_allclose(table[np.arange(30), anchors.ids[:30]], 1, atol=1e-4)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_of_anchors_equally_near_the_first_ones_are_taken(metric: str):
    donor = np.repeat(rows(30, 40, 1), 10, axis=0)
    anchors = Anchors(donor, rows(300, 24, 2), np.arange(300, dtype=np.int32))
    made = interpolate(rows(20, 40, 3), anchors, 14, metric)
    ids_KN = made.ids.reshape(20, 14)
    first = ids_KN[:, [0]] + np.arange(10)
    second = ids_KN[:, [10]] + np.arange(4)
    assert (ids_KN[:, [0, 10]] % 10 == 0).all()
    np.testing.assert_array_equal(ids_KN, np.concatenate([first, second], axis=1))


@pytest.mark.parametrize("weighting", ["inverse_distance", "barycentric"])
def test_interpolation_weights_sum_to_one(weighting: str):
    made = interpolate(rows(40, 40, 3), make_anchors(), 7, "euclidean", weighting)
    table = made.rows(np.eye(600, dtype=np.float32))
    np.testing.assert_allclose(table.sum(axis=1), 1, atol=1e-5)
    if weighting == "inverse_distance":
        assert (table >= 0).all()


def test_similarities_that_cancel_out_give_no_weights():
    anchors = Anchors(
        np.array([[1, 0], [-1, 0]], np.float32),
        np.eye(2, dtype=np.float32),
        np.arange(2, dtype=np.int32),
    )
    targets = np.array([[1, 0], [0.6, 0.8]], np.float32)
    found = interpolate(targets, anchors, 2, "cosine")
    assert found.found.tolist() == [False, False]


def test_barycentric_by_hand():
    """Between (0, 0) and (1, 0), the nearest point to (0.25, 5) is a quarter along."""
    anchors = Anchors(
        np.array([[0, 0], [1, 0], [99, 99]], np.float32),
        np.eye(3, dtype=np.float32),
        np.arange(3, dtype=np.int32),
    )
    made = interpolate(np.array([[0.25, 5]], np.float32), anchors, 2, "euclidean", "barycentric")
    np.testing.assert_allclose(made.rows(np.eye(3, dtype=np.float32)), [[0.75, 0.25, 0]], atol=1e-6)


def test_interpolation_is_the_same_in_small_blocks(monkeypatch: pytest.MonkeyPatch):
    targets, anchors = rows(40, 40, 3), make_anchors()
    whole = interpolate(targets, anchors, 5, "cosine", "least_squares")
    monkeypatch.setattr("tasks.embedding.interpolation.BLOCK_BYTES", 1)
    parts = interpolate(targets, anchors, 5, "cosine", "least_squares")
    assert (whole.ids == parts.ids).all()
    np.testing.assert_allclose(whole.weights, parts.weights, rtol=1e-5, atol=1e-6)


def test_map_finds_a_linear_relation():
    donor, true = rows(500, 30, 1), np.random.default_rng(2).standard_normal((30, 20))
    source = (donor @ true + 3).astype(np.float32)
    anchors = Anchors(donor, source, np.arange(500, dtype=np.int32))
    targets = rows(15, 30, 3)
    made, quality = map_rows(targets, anchors, 1e-9)
    np.testing.assert_allclose(made, targets @ true + 3, rtol=1e-3, atol=1e-2)
    assert (quality.n_anchors, quality.n_held_out) == (500, 50)
    assert quality.relative_error < 1e-3 < 0.1 < quality.mean_relative_error
    # Without the constant that is there, the map cannot be exact.
    assert map_rows(targets, anchors, 1e-9, intercept=False)[1].relative_error > 1e-2


def test_map_of_unrelated_rows_is_no_better_than_the_mean():
    quality = map_rows(rows(3, 40, 5), make_anchors(), 1.0)[1]
    assert quality.relative_error > 0.9 * quality.mean_relative_error


def test_too_few_anchors_are_refused():
    few = make_anchors(10)
    targets = rows(2, 40, 3)
    with pytest.raises(TooFewAnchorsError, match=r"omp with k = 11 .*there are 10"):
        omp(targets, few, 11)
    with pytest.raises(TooFewAnchorsError, match=r"interpolation with k = 64 .*there are 10"):
        interpolate(targets, few)
    with pytest.raises(TooFewAnchorsError, match=r"least_squares needs 20 .*there are 10"):
        map_rows(targets, few)
    with pytest.raises(TooFewAnchorsError, match="share no token"):
        omp(targets, Anchors(few.donor[:0], few.source[:0], few.ids[:0]), 1)


def test_a_donor_without_the_new_tokens_is_refused():
    check_donor_covers(np.ones(5, bool), "donor")
    with pytest.raises(DonorLacksTokensError, match=r"no row for 2 of 5 .*\[1, 4\]"):
        check_donor_covers(np.array([True, False, True, True, False]), "donor")


@pytest.fixture(scope="module")
def frozen() -> dict[str, np.ndarray]:
    return load_file(FROZEN)


def frozen_anchors(frozen: dict[str, np.ndarray], part: str) -> tuple[np.ndarray, Anchors]:
    new, old = frozen["shared_new_old"].T
    donor = frozen[f"donor_{part}"]
    anchors = Anchors(donor[new], frozen[f"source_{part}"][old], old.copy())
    return donor[frozen["needed_new"]], anchors


@pytest.mark.parametrize("part", ["input", "head"])
def test_pursuit_agrees_with_mergekit(frozen: dict[str, np.ndarray], part: str):
    targets, anchors = frozen_anchors(frozen, part)
    weights, _ = omp(targets, anchors, 8)
    made = weights.rows(frozen[f"source_{part}"])
    np.testing.assert_allclose(made, frozen[f"omp_{part}"], atol=1e-4)


@pytest.mark.parametrize("part", ["input", "head"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("weighting", list(WEIGHTINGS))
def test_interpolation_agrees_with_mergekit(
    frozen: dict[str, np.ndarray], metric: str, weighting: str, part: str
):
    targets, anchors = frozen_anchors(frozen, part)
    made = interpolate(targets, anchors, 8, metric, weighting).rows(frozen[f"source_{part}"])
    peer = frozen[f"{metric}_{WEIGHTINGS[weighting]}_{part}"]
    np.testing.assert_allclose(made, peer, atol=1e-4)
