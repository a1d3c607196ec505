"""New rows in an old body: by hand, identity, padding, and what does not fit."""

from pathlib import Path

import pytest
import torch

from tasks.model.folder_weights import names_of_parameters
from tasks.model.new_rows import (
    NewRows,
    RowsMismatchError,
    RowsOutOfRangeError,
    check_rows,
    n_lost_by_rounding,
    padded,
    stored,
    with_new_rows,
)
from tasks.shared.model_rows import RowNames, find_row_names

TIED = RowNames(input="e.weight", head="h.weight", head_bias=None, tied=True)
UNTIED = RowNames(input="e.weight", head="h.weight", head_bias=None, tied=False)
BIASED = RowNames(input="e.weight", head="h.weight", head_bias="h.bias", tied=True)
BODY = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float16)
OLD = torch.tensor([[1.0, 1.0], [2.0, 2.0]], dtype=torch.bfloat16)
NEW = torch.tensor([[1.0, 0.0], [0.0, 2.0], [5.0, 1.0]])


def assembled(
    names: RowNames, rows: NewRows, groups: list[tuple[str, ...]], multiple: int = 1
) -> dict[str, torch.Tensor]:
    stored = {"e.weight": OLD, "h.weight": OLD, "b": BODY, "h.bias": OLD[0], "bias": OLD[0]}
    return dict(with_new_rows(groups, stored.__getitem__, names, rows, multiple))


def test_tied_rows_are_stored_once_in_the_dtype_of_the_old_ones() -> None:
    found = assembled(TIED, NewRows(NEW, None), [("e.weight", "h.weight"), ("b",)])
    assert found.keys() == {"e.weight", "b"}
    assert torch.equal(found["e.weight"], NEW.bfloat16())
    assert found["b"] is BODY


def test_untying_adds_the_head_under_its_own_name() -> None:
    found = assembled(TIED, NewRows(NEW, 2 * NEW), [("e.weight", "h.weight"), ("b",)])
    assert torch.equal(found["h.weight"], (2 * NEW).bfloat16())
    assert torch.equal(found["e.weight"], NEW.bfloat16())


def test_an_untied_head_can_be_tied() -> None:
    found = assembled(UNTIED, NewRows(NEW, None), [("e.weight",), ("h.weight",), ("b",)])
    assert found.keys() == {"e.weight", "b"}


def test_head_bias_is_replaced_under_the_name_that_is_stored() -> None:
    groups = [("e.weight", "h.weight"), ("bias", "h.bias"), ("b",)]
    found = assembled(BIASED, NewRows(NEW, None, torch.tensor([1.0, 2.0, 3.0])), groups, 4)
    assert found.keys() == {"e.weight", "bias", "b"}
    assert found["bias"].tolist() == [1.0, 2.0, 3.0, 2.0]


def test_untying_stores_a_bias_under_each_of_its_names() -> None:
    groups = [("e.weight", "h.weight"), ("bias", "h.bias"), ("b",)]
    found = assembled(BIASED, NewRows(NEW, 2 * NEW, torch.tensor([1.0, 2.0, 3.0])), groups)
    assert found.keys() == {"e.weight", "h.weight", "bias", "h.bias", "b"}
    assert found["bias"].tolist() == found["h.bias"].tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("value", [7e4, 1e-9])
def test_rows_that_the_dtype_of_the_source_cannot_hold_are_refused(value: float) -> None:
    rows = torch.tensor([[1.0, 0.0], [0.0, value]])
    assert torch.equal(stored("input", rows, torch.bfloat16), rows.bfloat16())
    with pytest.raises(RowsOutOfRangeError, match=r"^1 head rows do not fit torch.float16 .*\[1\]"):
        stored("head", rows, torch.float16)


def test_a_bias_may_vanish_but_not_overflow() -> None:
    assert stored("bias", torch.tensor([1e-9, 1.0]), torch.float16).tolist() == [0.0, 1.0]
    with pytest.raises(RowsOutOfRangeError, match=r"1 bias rows"):
        stored("bias", torch.tensor([1.0, 7e4]), torch.float16)


def test_rows_that_only_rounding_makes_equal_are_counted() -> None:
    # bfloat16 has 8 bits: 1 + 2**-10 becomes 1, and the two rows that were equal stay two.
    rows = torch.tensor([[1.0, 0.0], [1.0, 2.0], [1.0 + 2**-10, 2.0], [3.0, 4.0], [3.0, 4.0]])
    assert n_lost_by_rounding(rows, torch.bfloat16) == 1
    assert n_lost_by_rounding(rows, torch.float16) == 0
    assert n_lost_by_rounding(rows, torch.float32) == 0
    assert n_lost_by_rounding(rows.T.contiguous().T, torch.bfloat16) == 1


def test_padding_is_the_mean_row_by_hand() -> None:
    assert padded(NEW, 4).tolist() == [*NEW.tolist(), [2.0, 1.0]]
    assert padded(NEW, 3) is NEW
    assert padded(NEW, 1) is NEW


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_padding_row_never_wins(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    rows = padded(torch.randn(1000, 64) + 0.5, 64).to(dtype)
    logits = torch.randn(500, 64).to(dtype) @ rows.T
    assert int(logits.argmax(dim=1).max()) < 1000


def test_same_rows_change_nothing_in_a_real_model(tiny_model_folder: Path) -> None:
    from infra.weights import TensorFolder

    weights, names = TensorFolder(tiny_model_folder), find_row_names(tiny_model_folder)
    rows = NewRows(weights.get(names.input), None)
    groups = names_of_parameters(tiny_model_folder)
    found = dict(with_new_rows(groups, weights.get, names, rows, 1))
    assert sorted(found) == weights.names()
    for name, values in found.items():
        assert torch.equal(values, weights.get(name))


def test_rows_for_another_tokenizer_are_refused() -> None:
    with pytest.raises(RowsMismatchError, match=r"input rows have shape \(3, 2\), but 4 tokens"):
        check_rows(NewRows(NEW, None), 4, 2, TIED)
    with pytest.raises(RowsMismatchError, match=r"shape \(3, 2\), but 3 tokens of width 5"):
        check_rows(NewRows(NEW, NEW), 3, 5, TIED)


def test_a_bias_without_a_place_is_refused_and_a_missing_one_too() -> None:
    with pytest.raises(RowsMismatchError, match="constant direction"):
        check_rows(NewRows(NEW, None, torch.zeros(3)), 3, 2, TIED)
    with pytest.raises(RowsMismatchError, match=r"head bias \(h\.bias\)"):
        check_rows(NewRows(NEW, None), 3, 2, BIASED)
