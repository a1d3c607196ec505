"""Trained float32 weights, rounded once to what ships."""

import pytest
import torch

from tasks.model.trained_weights import TrainedWeightsError, shipped_weights

BASE = {"a": torch.tensor([1.0, 2.0], dtype=torch.bfloat16), "b": torch.tensor([3.0])}
TRAINED = {"a": torch.tensor([1.001, 2.5]), "b": torch.tensor([4.0])}


def shipped(
    trained: dict[str, torch.Tensor], dtype: torch.dtype | None = None
) -> dict[str, torch.Tensor]:
    read, read_new = BASE.__getitem__, trained.__getitem__
    return dict(shipped_weights(list(BASE), list(trained), read, read_new, dtype))


def test_each_tensor_ships_in_the_dtype_of_its_base() -> None:
    found = shipped(TRAINED)
    assert found["a"].tolist() == [1.0, 2.5]
    assert (found["a"].dtype, found["b"].dtype) == (torch.bfloat16, torch.float32)


def test_untrained_weights_come_back_bit_for_bit() -> None:
    found = shipped({name: values.float() for name, values in BASE.items()})
    for name, values in BASE.items():
        assert found[name].dtype == values.dtype
        assert torch.equal(found[name], values)


def test_one_dtype_for_all_when_asked() -> None:
    assert {v.dtype for v in shipped(TRAINED, torch.float16).values()} == {torch.float16}


def test_a_frozen_tensor_stays_as_it_is_stored() -> None:
    found = shipped({"a": TRAINED["a"]})
    assert found["b"] is BASE["b"]
    assert found["a"].tolist() == [1.0, 2.5]


def test_a_tensor_of_another_model_is_named() -> None:
    with pytest.raises(TrainedWeightsError, match=r"1 trained weights have no place.*'c'"):
        shipped({**TRAINED, "c": torch.ones(1)})


def test_another_shape_is_refused() -> None:
    with pytest.raises(TrainedWeightsError, match=r"trained b has shape \(2,\)"):
        shipped({**TRAINED, "b": torch.zeros(2)})


def test_overflow_is_refused() -> None:
    with pytest.raises(TrainedWeightsError, match=r"not finite as torch\.float16"):
        shipped({**TRAINED, "b": torch.tensor([1e6])}, torch.float16)
