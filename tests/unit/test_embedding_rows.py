"""Rows of a whole vocabulary: what must hold whichever method made them."""

import numpy as np
import pytest
from letter_rows import (
    COUNTS,
    EXTENDED,
    METHODS,
    MODELS,
    SOURCE,
    WIDTH,
    each_head,
    each_method,
    each_model,
    hidden_states,
    name_of,
    plan_for,
    rows_for,
    source_rows,
    vocabulary,
)

from tasks.embedding.config_source import (
    Composed,
    MergeRegression,
    MergeTree,
)
from tasks.embedding.description import describe
from tasks.embedding.initialise import Choices, initialise
from tasks.embedding.initialisers import make_from_source
from tasks.embedding.known import Known
from tasks.embedding.lineage import lineage_tables
from tasks.embedding.row_plan import plan_rows
from tasks.embedding.rows import SourceRows


@each_method
@each_head
@each_model
def test_same_vocabulary_changes_no_bit(method, head: str, model: str):
    old = source_rows(*MODELS[model])
    rows = rows_for(method.model_copy(update={"head": head}), old, SOURCE)
    assert rows.input.tobytes() == old.input.tobytes()
    assert (rows.head is None) is (old.tied and head == "same")
    if rows.head is not None:
        np.testing.assert_array_equal(rows.head, old.head)
    if old.head_bias is not None:
        np.testing.assert_array_equal(rows.head_bias, old.head_bias)
    else:
        assert rows.head_bias is None


@each_method
@each_model
def test_permuted_vocabulary_permutes_rows(method, model: str):
    old, order = source_rows(*MODELS[model]), np.random.default_rng(2).permutation(len(SOURCE))
    tokens = [SOURCE.token_bytes[i] or SOURCE.token_text[i] for i in order]
    new_id = {int(i): new for new, i in enumerate(order)}
    merges = [tuple(new_id[i] for i in merge) for merge in SOURCE.merges]
    rows = rows_for(method.model_copy(update={"head": "untied"}), old, vocabulary(tokens, merges))
    assert rows.input.tobytes() == old.input[order].tobytes()
    assert rows.head is not None
    assert rows.head.tobytes() == old.head[order].tobytes()
    if old.head_bias is not None:
        np.testing.assert_array_equal(rows.head_bias, old.head_bias[order])


@each_method
@each_head
@each_model
def test_old_rows_stay_and_every_row_is_usable(method, head: str, model: str):
    old, n_old = source_rows(*MODELS[model]), len(SOURCE)
    rows = rows_for(method.model_copy(update={"head": head}), old)
    assert rows.input.shape == (len(EXTENDED), WIDTH)
    assert rows.input[:n_old].tobytes() == old.input.tobytes()
    summary = describe(rows, old, plan_for(EXTENDED))
    assert (summary["n_copied"], summary["n_initialised"]) == (n_old, 4)
    assert summary["n_unexplained_equal_rows"] == 0
    assert summary.get("n_unexplained_equal_head_rows", 0) == 0
    assert summary["tied"] is (old.tied and head == "same")
    if rows.head is not None:
        assert rows.head.shape == rows.input.shape
        assert not np.shares_memory(rows.head, rows.input)
        if head != "prefix_prior":
            assert rows.head[:n_old].tobytes() == old.head.tobytes()
    assert (rows.head_bias is None) is (old.head_bias is None)
    tables = lineage_tables(rows, SOURCE, EXTENDED)
    assert [table.num_rows for table in tables] == [len(EXTENDED)] * (1 + (rows.head is not None))


@each_method
@each_model
def test_untying_alone_changes_no_row(method, model: str):
    old = source_rows(*MODELS[model])
    same, untied = (
        rows_for(method.model_copy(update={"head": head}), old) for head in ("same", "untied")
    )
    np.testing.assert_array_equal(untied.input, same.input)
    np.testing.assert_array_equal(untied.head_bias, same.head_bias)
    mirrored = getattr(method, "weighting", "") in ("geometric", "exponential")
    if not (old.tied and mirrored):  # which have weights of their own for a head
        np.testing.assert_array_equal(untied.head, same.input if same.head is None else same.head)


@each_method
@each_model
def test_first_piece_head_by_hand(method, model: str):
    old = source_rows(*MODELS[model])
    rows = rows_for(method.model_copy(update={"head": "first_piece"}), old)
    # aba, abab, cb and bcbc begin with the old pieces ab, ab, c and bc.
    assert rows.head is not None
    np.testing.assert_array_equal(rows.head[7:], old.head[[4, 4, 3, 5]])
    if old.head_bias is not None and rows.head_bias is not None:
        np.testing.assert_array_equal(rows.head_bias[7:], old.head_bias[[4, 4, 3, 5]])


@each_method
def test_the_same_choices_give_the_same_bits(method):
    old = source_rows(bias=True)
    once, again = (rows_for(method, old, counts=COUNTS) for _ in range(2))
    assert once.input.tobytes() == again.input.tobytes()
    assert once.head is not None
    assert again.head is not None
    assert once.head.tobytes() == again.head.tobytes()


@each_method
def test_all_byte_tokens_have_rows_of_their_own(method):
    rng = np.random.default_rng(3)
    source = vocabulary(
        [*(bytes([i]) for i in range(256)), b"ab", b"bc"], [(97, 98, 256), (98, 99, 257)]
    )
    target = vocabulary(
        [b"ab", b"abc", *(bytes([i]) for i in range(255, -1, -1))], [(160, 159, 0), (0, 158, 1)]
    )
    rows_VD = rng.normal(size=(258, WIDTH)).astype(np.float32)
    old = SourceRows(rows_VD, rows_VD, None, tied=True)
    plan = plan_rows(source, target, lambda tokens: [[*token] for token in tokens], {})
    known = Known(old, plan, source, target, np.ones(len(target), np.int64))
    choices = Choices(method.method, "same", ("error",), 0)
    rows = initialise(known, make_from_source(method, known), choices, pytest.fail)
    assert len({row.tobytes() for row in rows.input[2:]}) == 256
    assert rows.input[2:].tobytes() == rows_VD[255::-1].tobytes()


@pytest.mark.parametrize("stored", ["float16", "bfloat16", "float32"])
def test_shared_rows_survive_the_stored_dtype(stored: str):
    import torch

    dtype = getattr(torch, stored)
    stored_VD = torch.randn(len(SOURCE), WIDTH, generator=torch.manual_seed(0)).to(dtype)
    input_VD = stored_VD.float().numpy()
    old = SourceRows(input_VD, input_VD, None, tied=True)
    for rows in (rows_for(method, old, counts=COUNTS) for method in METHODS):
        back = torch.from_numpy(rows.input[: len(SOURCE)]).to(dtype)
        assert torch.equal(back.view(torch.uint8), stored_VD.view(torch.uint8))


@each_method
@pytest.mark.parametrize("head", ["same", "untied", "first_piece"])
def test_old_logits_stay_up_to_new_columns(method, head: str):
    old = source_rows()
    rows = rows_for(method.model_copy(update={"head": head}), old)
    assert rows.head is not None
    h = hidden_states()
    np.testing.assert_array_equal(h @ rows.head[: len(SOURCE)].T, h @ old.head.T)


@pytest.mark.parametrize("method", [MergeTree(), MergeRegression(), Composed()], ids=name_of)
def test_where_no_token_is_new_none_needs_merges(method):
    without = vocabulary([b"a", b"ab", b"bc"], [])
    rows = rows_for(method, source_rows(), without)
    assert rows.steps == ("kept",) * 3
