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
    """Stream the trained weights under the base's names, rounded once.

    Args:
        base: names stored in the base model.
        trained: names among the trained weights; aliases of tied tensors may be among them.
        read_base: gives a base tensor, for its dtype and shape.
        read_trained: gives a trained tensor.
        dtype: of every tensor; None takes each base tensor's own.

    Raises:
        TrainedWeightsError: a weight is missing, has another shape, or is not finite.
    """
    if missing := sorted(set(base) - set(trained)):
        raise TrainedWeightsError(
            f"the trained weights lack {len(missing)} of the model's {len(base)} tensors (first: "
            f"{missing[:3]}); run the pretraining stage again for this model."
        )
    for name in base:
        old, new = read_base(name), read_trained(name)
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
