"""Tokens that the source or the method has nothing for: overrides, fallbacks, refusals."""

import numpy as np
import pytest
from letter_rows import (
    MODELS,
    SOURCE,
    each_head,
    each_model,
    mean_rows,
    plan_for,
    rows_for,
    source_rows,
    vocabulary,
)

from tasks.embedding.config import EmbeddingConfig
from tasks.embedding.config_source import (
    MergeTree,
)
from tasks.embedding.description import describe
from tasks.shared.vocabulary import UncoverableTokenError, UnknownTokenError


def test_special_tokens_match_by_override_role_and_text():
    target = vocabulary(["<eos>", "<|new|>", b"a"])
    with pytest.raises(UncoverableTokenError, match=r"1 new tokens .*'<\|new\|>'.*special_tokens"):
        mean_rows(source_rows(), target)
    overrides = {"<|new|>": "<eos>"}
    assert plan_for(target, overrides).kinds == ("special_text", "special_role", "copied")
    rows = mean_rows(source_rows(), target, special_tokens=overrides)
    np.testing.assert_array_equal(rows.input[1], source_rows().input[0])


def test_override_that_names_nothing_is_refused():
    with pytest.raises(UnknownTokenError, match="<nothing>"):
        plan_for(SOURCE, {"<eos>": "<nothing>"})


def test_uncovered_and_unassigned_ids_get_the_mean_row():
    target = vocabulary([b"a", b"az", "", b"ab", b"zz"])
    plan, old = plan_for(target), source_rows()
    assert plan.kinds == ("copied", "uncovered", "unassigned", "copied", "uncovered")
    rows = mean_rows(old, target, fallback=("mean",))
    mean, spread = old.input.mean(axis=0), old.input.std(axis=0)
    np.testing.assert_allclose(rows.input[2], mean, rtol=1e-6)
    away = (rows.input[[1, 4]] - mean) / spread
    assert 0 < np.abs(away).max() < 0.05
    assert (away[0] != away[1]).all(), "two bytes that the source lacks must differ"
    summary = describe(rows, old, plan)
    assert (summary["n_fallback"], summary["n_unassigned"]) == (2, 1)
    assert (summary["n_equal_rows"], summary["n_unexplained_equal_rows"]) == (0, 0)
    notes = rows.input_origins.notes[1:3]
    beside = "mean of all old rows, a hundredth of their spread beside it"
    assert notes[0] == f"the source has no pieces for it; {beside}"
    assert notes[1] == "no token has this id; mean of all old rows"


@each_head
@each_model
def test_fallback_chain_covers_what_the_method_lacks(head: str, model: str):
    # No merge makes "cbc" here, so merge_tree has nothing for it; nobody has a piece for "z".
    target = vocabulary([b"a", b"b", b"c", b"cbc", b"z", b"cb"], [(2, 1, 5)])
    old, method = source_rows(*MODELS[model]), MergeTree(head=head)
    with pytest.raises(UncoverableTokenError, match=r"2 new tokens have no rows, 1 of them"):
        rows_for(method, old, target)
    with pytest.raises(UncoverableTokenError, match=r"1 new tokens have no rows, 1 of them .*'z'"):
        rows_for(method, old, target, fallback=("mean_of_pieces", "error"))
    rows = rows_for(method, old, target, fallback=("mean_of_pieces", "normal"))
    assert rows.steps == ("kept", "kept", "kept", "mean_of_pieces", "normal", "made")
    np.testing.assert_allclose(rows.input[3], old.input[[3, 5]].mean(axis=0), rtol=1e-6)
    summary = describe(rows, old, plan_for(target))
    assert (summary["n_fallback_mean_of_pieces"], summary["n_fallback_normal"]) == (1, 1)
    assert rows.input_origins.methods[3:] == ("fallback", "fallback", "merge_tree")
    assert rows.input_origins.notes[3] == "merge_tree has nothing for it; mean of its pieces"
    assert rows.input_origins.weights.of(3) == ([3, 5], [0.5, 0.5])


def test_initialiser_without_anything_for_a_token_is_named():
    target = vocabulary([b"b", b"c", b"cbc", b"cb"], [(1, 0, 3)])
    with pytest.raises(UncoverableTokenError, match=r"merge_tree has nothing for 1 .*'cbc'"):
        rows_for(MergeTree(), source_rows(), target)


@pytest.mark.parametrize(
    "chain", [["mean_of_pieces"], ["mean", "error"], ["normal", "mean"], [], "mean",
              ["mean_of_pieces", "mean_of_pieces", "mean"]]
)  # fmt: skip
def test_fallback_that_does_not_end_is_refused(chain):
    with pytest.raises(ValueError, match="fallback"):
        EmbeddingConfig.model_validate({"fallback": chain})
