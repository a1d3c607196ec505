"""A trained model's float32 weights in the dtypes it ships in."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from tasks.shared.errors import InputError


class TrainedWeightsError(InputError):
    """Trained weights do not belong to the model they are to be exported with."""


def shipped_weights(
    base: Sequence[str],
    trained: Sequence[str],
    read_base: Callable[[str], Tensor],
    read_trained: Callable[[str], Tensor],
    dtype: torch.dtype | None,
) -> Iterator[tuple[str, Tensor]]:
    """Stream the model with its trained weights, each rounded once; untrained ones stay as stored.

    Args:
        base: names stored in the base model.
        trained: names of the tensors that training changed; a frozen one is not among them.
        read_base: gives a base tensor, for its dtype and shape.
        read_trained: gives a trained tensor.
        dtype: of every tensor; None takes each base tensor's own.

    Raises:
        TrainedWeightsError: a weight has no place in the model, has another shape, or is not
            finite.
    """
    if strays := sorted(set(trained) - set(base)):
        raise TrainedWeightsError(
            f"{len(strays)} trained weights have no place in the model (first: {strays[:3]}); run "
            "the pretraining stage again for this model."
        )
    changed = set(trained)
    for name in base:
        old = read_base(name)
        new = read_trained(name) if name in changed else old
        if old.shape != new.shape:
            raise TrainedWeightsError(
                f"trained {name} has shape {tuple(new.shape)}, the model has {tuple(old.shape)}; "
                "run the pretraining stage again for this model."
            )
        rounded = new.to(dtype or old.dtype)
        if not bool(torch.isfinite(rounded).all()):
            raise TrainedWeightsError(
                f"trained {name} holds values that are not finite as {rounded.dtype}; lower the "
                "learning rate, or ship another dtype."
            )
        yield name, rounded
