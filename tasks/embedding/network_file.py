"""A row network as one safetensors file, from which all its sizes can be told."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tasks.embedding.row_network import NetworkShape, RowNetwork
from tasks.shared.errors import InputError


class NetworkFileError(InputError):
    """A file holds no row network, or one for another kind of model."""


def network_arrays(network: RowNetwork) -> dict[str, np.ndarray]:
    """What is to be written of a network."""
    return {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}


def load_network(path: Path) -> RowNetwork:
    """Read a network that an embedding stage has written.

    Raises:
        NetworkFileError: the file cannot be read, or holds something else.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise NetworkFileError(
            f"{path} cannot be read as safetensors ({error}); name network.safetensors of an "
            "embedding artifact made by method hypernetwork."
        ) from None
    try:
        network = new_network(_shape_of(tensors), seed=0)
        network.load_state_dict(tensors)
    except (KeyError, ValueError, RuntimeError):
        raise NetworkFileError(
            f"{path} holds {len(tensors)} tensors (first: {sorted(tensors)[:3]}) and no row "
            "network; name network.safetensors of an embedding artifact made by method "
            "hypernetwork."
        ) from None
    return network


def new_network(shape: NetworkShape, seed: int) -> RowNetwork:
    """Make an untrained network, whose first weights follow from the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return RowNetwork(shape)


def check_network(shape: NetworkShape, width: int, *, needs_head: bool) -> None:
    """Refuse a network that cannot make the rows of a model.

    Args:
        shape: of the network.
        width: of the model's rows.
        needs_head: whether head rows of their own are asked for.

    Raises:
        NetworkFileError: it is for other rows.
    """
    if shape.width != width:
        raise NetworkFileError(
            f"the network makes rows of width {shape.width} and the model has rows of width "
            f"{width}; take a network trained for this model or another variant of its base."
        )
    if needs_head and shape.n_sides == 1:
        raise NetworkFileError(
            "the network makes input rows alone and the model's head is its own; set head to "
            "prefix_prior, or train a network with the head that is wanted."
        )


def _shape_of(tensors: Mapping[str, Tensor]) -> NetworkShape:
    n_sides, width = tensors["mean"].shape
    max_pieces, hidden = tensors["position"].shape
    layers = {name.split(".")[1] for name in tensors if name.startswith("layers.")}
    return NetworkShape(n_sides, width, hidden, len(layers), max_pieces)
