"""Rows by way of a donor: any pair of models, and what the donor never trained."""

from dataclasses import replace

import numpy as np
import pytest
from letter_methods import DONATED, RowsFor, each, each_model
from letter_rows import once_each, vocabulary
from letter_texts import (
    DONOR_WIDTH,
    EXTENDED,
    MERGES,
    N_NEW,
    N_OLD,
    NEW,
    SOURCE,
    TOKENS_OF_EXTENDED,
    old_rows,
    random_rows,
    segment_all,
)

from tasks.embedding.config_donor import Interpolation, LeastSquares, Omp
from tasks.embedding.description import describe
from tasks.embedding.from_donor import Donor, make_from_donor
from tasks.embedding.initialise import Choices, initialise
from tasks.embedding.known import Known
from tasks.embedding.row_plan import plan_rows


@each([*DONATED, Interpolation(k=5), LeastSquares()])
@each_model
def test_any_donor_serves_any_model(rows_for: RowsFor, method, model: str):
    """A tied donor lends its input rows for the head of an untied model, and the reverse."""
    old = old_rows(model)
    tied, untied = (rows_for(method, old, donor_tied=donor_tied) for donor_tied in (True, False))
    for rows in (tied, untied):
        assert (rows.head is None) is old.tied
        assert rows.input[:N_OLD].tobytes() == old.input.tobytes()
    np.testing.assert_array_equal(tied.input, untied.input)
    if tied.head is not None and untied.head is not None:
        assert (tied.head[NEW] != untied.head[NEW]).all()


@each([Omp(k=4), Interpolation(k=5, metric="cosine"), LeastSquares()])
@each_model
def test_a_row_that_the_donor_never_trained_falls_back(method, model: str):
    known = Known(
        old_rows(model),
        plan_rows(SOURCE, EXTENDED, segment_all, {}),
        SOURCE,
        EXTENDED,
        once_each(EXTENDED),
    )
    donor = random_rows(N_NEW, DONOR_WIDTH, tied=True)
    donor.input[N_OLD + 1] = 0
    made = make_from_donor(method, known, Donor("d", donor, np.arange(N_NEW, dtype=np.int32)))
    assert made.found.tolist() == [True, False, True, True]
    choices = Choices(method.method, "same", ("mean_of_pieces", "mean"), 0)
    rows = initialise(known, made, choices, lambda: pytest.fail("no head rule asks for it"))
    assert rows.steps[NEW] == ("made", "mean_of_pieces", "made", "made")
    assert describe(rows, known.rows, known.plan)["n_fallback_mean_of_pieces"] == 1


@each([Omp(k=4), Interpolation(k=5, metric="cosine"), LeastSquares()])
def test_a_byte_that_has_a_real_piece_is_no_second_anchor(method):
    """A donor with byte fallback never saw ``<0x61>`` where it has a token "a"."""
    plain = Known(
        old_rows(),
        plan_rows(SOURCE, EXTENDED, segment_all, {}),
        SOURCE,
        EXTENDED,
        once_each(EXTENDED),
    )
    target = vocabulary([*(data or text for data, text in TOKENS_OF_EXTENDED), b"a"], MERGES)
    target = replace(target, token_text=(*EXTENDED.token_text, "<0x61>"))
    known = Known(
        old_rows(), plan_rows(SOURCE, target, segment_all, {}), SOURCE, target, once_each(target)
    )
    donor = random_rows(N_NEW + 1, DONOR_WIDTH, tied=True)
    donor.input[N_NEW] = 3 * donor.input[N_OLD]
    made, expected = (
        make_from_donor(method, one, Donor("d", donor, np.arange(len(one.target), dtype=np.int32)))
        for one in (known, plain)
    )
    assert made.measured["n_anchors"] == expected.measured["n_anchors"] == N_OLD - 1
    np.testing.assert_array_equal(made.input, expected.input)
