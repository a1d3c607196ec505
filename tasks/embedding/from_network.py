"""Initialisers that train a network to make rows, or take one that was trained before."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from jaxtyping import Float32

from tasks.embedding.config_learned import Hypernetwork, NetworkFile, TrainedNetwork
from tasks.embedding.known import Known
from tasks.embedding.made_rows import MadeNetwork, MadeRows
from tasks.embedding.mean_of_pieces import uniform_weights
from tasks.embedding.network_file import check_network, load_network, network_arrays, new_network
from tasks.embedding.network_lessons import Lessons
from tasks.embedding.piece_rows import make_all
from tasks.embedding.row_network import NetworkShape, RowNetwork
from tasks.embedding.texts import Outside


def make_from_network(method: Hypernetwork, known: Known, outside: Outside) -> MadeRows:
    """Make rows for every token that has old pieces.

    Raises:
        InputError: the text is too small or not the same under both tokenizers, or the network
            given is for other rows.
    """
    old, choice = known.rows, method.network
    if not known.n_needed:
        return MadeRows.nothing(old)
    needs_head = method.head in ("same", "untied") and not old.tied
    if isinstance(choice, NetworkFile):
        network = load_network(outside.outside_file("network"))
        check_network(network.shape, old.input.shape[1], needs_head=needs_head)
        network.to(outside.device())
        losses, measured, made = None, {}, None
    else:
        sources = (old.input, old.head) if needs_head else (old.input,)
        network = _untrained(choice, sources, method.seed).to(outside.device())
        lessons = Lessons(method, choice, known, outside, network, sources)
        losses, measured = lessons.teach()
        made = MadeNetwork(network_arrays(network), asdict(network.shape))
    pieces = known.plan.needed_pieces
    rows_KSD = make_all(network, (old.input, old.head)[: network.shape.n_sides], pieces)
    weights = uniform_weights(pieces)
    return MadeRows(
        np.ascontiguousarray(rows_KSD[:, 0]),
        np.ascontiguousarray(rows_KSD[:, 1]) if needs_head else None,
        None,
        weights.found,
        weights,
        weights,
        "plus what a network adds to the mean of its pieces",
        losses,
        measured,
        made,
    )


def _untrained(
    choice: TrainedNetwork, sources: Sequence[Float32[np.ndarray, "V D"]], seed: int
) -> RowNetwork:
    width = sources[0].shape[1]
    shape = NetworkShape(
        len(sources), width, choice.hidden or width, choice.n_network_layers, choice.max_pieces
    )
    network = new_network(shape, seed)
    network.standardise_by(sources)
    return network
