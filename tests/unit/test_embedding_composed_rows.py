"""Composed rows and their head, by hand and by what they keep."""

import numpy as np
import pytest
from letter_rows import (
    COUNTS,
    EXTENDED,
    SOURCE,
    composed,
    hidden_states,
    mean_rows,
    plan_for,
    source_rows,
    vocabulary,
)

from tasks.embedding.merge_regression import fit_merges


@pytest.mark.parametrize("bias", [False, True])
def test_each_first_piece_keeps_its_probability(bias: bool):
    old = source_rows(bias=bias)
    rows = composed(old, EXTENDED, COUNTS)
    assert rows.head is not None
    h = hidden_states()
    old_logits = h @ old.head.T + (0 if old.head_bias is None else old.head_bias)
    logits = h @ rows.head.T + (0 if rows.head_bias is None else rows.head_bias)
    first = plan_for(EXTENDED).pieces.first()
    for piece in range(len(SOURCE)):
        shared = np.exp(logits[:, first == piece]).sum(axis=1)
        np.testing.assert_allclose(shared, np.exp(old_logits[:, piece]), rtol=1e-5)
    assert (rows.head_bias is None) is not bias


def test_composed_input_by_hand():
    # Without the mean, a chain of merges is the map applied twice, brought to the old norm.
    old = source_rows()
    rows = composed(old, EXTENDED, COUNTS, mean_weight=0.0)
    merges_M3 = np.array(SOURCE.merges, np.int32)
    # Old tokens keep their ids here, so that theirs are the first counts.
    weights_M = (np.array(COUNTS)[merges_M3[:, 2]] + 0.5) ** 0.75
    found = fit_merges(old.input, merges_M3, 0.01, weights_M)
    pairs = [(4, 1), (4, 4), (3, 2), (5, 5)]
    made = np.concatenate([found.apply(old.input[[a]], old.input[[b]]) for a, b in pairs])
    made *= found.median_norm / np.median(np.linalg.norm(made, axis=1))
    np.testing.assert_allclose(rows.input[7:], made, rtol=1e-5, atol=1e-6)


def test_composed_rows_mix_mean_and_merges():
    old = source_rows()
    mean = mean_rows(old).input
    alone, third, whole = (
        composed(old, EXTENDED, COUNTS, mean_weight=w).input for w in (0.0, 1 / 3, 1.0)
    )
    np.testing.assert_array_equal(whole, mean)
    np.testing.assert_allclose(third, mean / 3 + alone * 2 / 3, rtol=1e-5, atol=1e-6)


def test_replaced_vocabulary_groups_by_old_first_piece():
    target = vocabulary([b"abab", b"abcb", b"c", "<eos>"])
    rows = composed(source_rows(tied=True), target, [1, 1, 1, 0])
    # "abab" starts with old piece ab, "abcb" with abc: each is alone and keeps all of it.
    assert rows.head is not None
    np.testing.assert_array_equal(rows.head, source_rows(tied=True).head[[4, 6, 3, 0]])
