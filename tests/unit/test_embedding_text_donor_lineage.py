"""What rows by text, words or a donor are sums of, and what the lineage says about it."""

import numpy as np
import pytest
from letter_methods import CONVEX, NEEDS_FASTTEXT, NETWORK, REDUCED, SHORT, SUMS, RowsFor, each
from letter_rows import once_each, vocabulary
from letter_texts import EXTENDED, N_NEW, N_OLD, SOURCE, TOKENS_OF_EXTENDED, old_rows, segment_all

from tasks.embedding.config_source import Composed, MeanOfPieces
from tasks.embedding.config_text import TokenDistillation
from tasks.embedding.initialisers import make_from_source
from tasks.embedding.known import Known
from tasks.embedding.lineage import lineage_tables
from tasks.embedding.row_plan import plan_rows


@each([
    TokenDistillation(head="same", start="mean_of_pieces", **SHORT),
    TokenDistillation(head="untied", start="composed", **SHORT),
])  # fmt: skip
def test_rows_that_training_did_not_move_say_where_they_are_from(rows_for: RowsFor, method):
    """No text has the last token; a head is not trained at all."""
    tokens = [text if data is None else data for data, text in TOKENS_OF_EXTENDED]
    target = vocabulary([*tokens, 20 * b"bb"], EXTENDED.merges)
    rows = rows_for(method, old_rows(), target)
    first = Composed() if method.start == "composed" else MeanOfPieces()
    known = Known(
        old_rows(), plan_rows(SOURCE, target, segment_all, {}), SOURCE, target, once_each(target)
    )
    plain = make_from_source(first, known)
    notes, weights = rows.input_origins.notes, rows.input_origins.weights
    trained = [i for i in range(N_OLD, N_NEW + 1) if notes[i].startswith("trained to read as")]
    assert trained
    assert N_NEW not in trained
    assert [weights.of(i) for i in trained] == [([], [])] * len(trained)
    assert plain.input_weights is not None
    assert weights.of(N_NEW) == plain.input_weights.of(N_NEW - N_OLD)
    np.testing.assert_array_equal(rows.input[N_NEW], plain.input[N_NEW - N_OLD])
    assert rows.head_origins is not None
    assert not any("trained" in note for note in rows.head_origins.notes)


@pytest.mark.parametrize("head", ["same", "prefix_prior"])
def test_no_step_of_distillation_leaves_the_rows_of_the_network_it_starts_from(
    rows_for: RowsFor, head: str
):
    method = TokenDistillation(head=head, start=NETWORK, **(SHORT | {"n_steps": 0}))
    rows = rows_for(method, old_rows())
    network = rows_for(NETWORK.model_copy(update={"head": head}), old_rows())
    np.testing.assert_array_equal(rows.input, network.input)
    np.testing.assert_array_equal(rows.head, network.head)


@each([*CONVEX, REDUCED])
def test_convex_methods_stay_within_the_source(rows_for: RowsFor, method):
    """A mean is no longer than the longest of its rows; how short it gets depends on angles."""
    old = old_rows()
    rows = rows_for(method, old)
    assert rows.head is not None
    for made, source, origins in (
        (rows.input, old.input, rows.input_origins),
        (rows.head, old.head, rows.head_origins),
    ):
        assert origins is not None
        totals = [sum(origins.weights.of(token)[1]) for token in range(N_NEW)]
        np.testing.assert_allclose(totals, 1, atol=1e-6)
        assert origins.weights.weights.min() >= 0
        norms = np.linalg.norm(made, axis=1)
        assert 0 < norms.min() <= norms.max() <= np.linalg.norm(source, axis=1).max() + 1e-6


def test_whole_rows_that_are_taken_over_keep_their_norm(rows_for: RowsFor):
    pytest.importorskip("fasttext")
    old = old_rows()
    norms = np.linalg.norm(rows_for(NEEDS_FASTTEXT[1], old).input, axis=1)
    old_norms = np.linalg.norm(old.input, axis=1)
    assert old_norms.min() <= norms.min() <= norms.max() <= old_norms.max()


@each(SUMS)
def test_lineage_rebuilds_rows(rows_for: RowsFor, method):
    old = old_rows()
    rows = rows_for(method, old)
    for table, made, source in zip(
        lineage_tables(rows, SOURCE, EXTENDED),
        (rows.input, rows.head),
        (old.input, old.head),
        strict=True,
    ):
        assert made is not None
        assert table["id"].to_pylist() == list(range(N_NEW))
        for row in table.to_pylist():
            rebuilt = np.array(row["weights"]) @ source[row["source_ids"]]
            np.testing.assert_allclose(made[row["id"]], rebuilt, atol=1e-5)
