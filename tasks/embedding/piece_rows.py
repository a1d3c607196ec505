"""Rows of tokens' pieces as a row network reads them, and the rows it makes of them.

Dimensions: N = tokens, L = pieces, S = sides (input, or input and head), V = old vocabulary,
D = model width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from tasks.embedding.mean_of_pieces import uniform_weights
from tasks.embedding.pieces import Pieces
from tasks.embedding.row_network import RowNetwork

BLOCK_TOKENS = 4096


@dataclass(frozen=True)
class PieceRows:
    """What a network reads of some tokens."""

    rows: Float[Tensor, "N L S D"]
    is_piece: Bool[Tensor, "N L"]
    means: Float[Tensor, "N S D"]

    @classmethod
    def of(
        cls,
        sources: Sequence[Float32[np.ndarray, "V D"]],
        pieces: Pieces,
        max_pieces: int,
        device: torch.device,
    ) -> "PieceRows":
        """Look up rows of pieces.

        Args:
            sources: old rows of each side.
            pieces: old ids of each token, none empty.
            max_pieces: of a token with more, the first ones are taken; the mean is of all.
            device: where to.
        """
        ids_NL, is_piece_NL = _padded(pieces, max_pieces)
        weights = uniform_weights(pieces)
        rows_NLSD = np.stack([rows_VD[ids_NL] for rows_VD in sources], axis=2)
        means_NSD = np.stack([weights.rows(rows_VD) for rows_VD in sources], axis=1)
        arrays = (rows_NLSD, is_piece_NL, means_NSD)
        return cls(*(torch.from_numpy(array).to(device) for array in arrays))


def made_by(
    network: RowNetwork, sources: Sequence[Float32[np.ndarray, "V D"]], pieces: Pieces
) -> Float[Tensor, "N S D"]:
    """Make the rows of some tokens, on the network's device, where gradients start.

    Args:
        network: made for so many sides.
        sources: old rows of each side.
        pieces: old ids of each token, none empty.
    """
    if not len(pieces):  # torch's attention refuses them
        return torch.zeros_like(network.mean)[None].expand(0, -1, -1)
    read = PieceRows.of(sources, pieces, network.shape.max_pieces, network.mean.device)
    return network(read.rows, read.is_piece, read.means)


@torch.no_grad()
def make_all(
    network: RowNetwork, sources: Sequence[Float32[np.ndarray, "V D"]], pieces: Pieces
) -> Float32[np.ndarray, "N S D"]:
    """Make the rows of all tokens that have pieces, block by block; zeros for the others."""
    shape = network.shape
    made_NSD = np.zeros((len(pieces), shape.n_sides, shape.width), np.float32)
    found = np.flatnonzero(pieces.lengths > 0)
    for start in range(0, len(found), BLOCK_TOKENS):
        here = found[start : start + BLOCK_TOKENS]
        block = pieces.select(np.isin(np.arange(len(pieces)), here))
        made_NSD[here] = made_by(network, sources, block).float().cpu().numpy()
    return made_NSD


def _padded(
    pieces: Pieces, max_pieces: int
) -> tuple[Int64[np.ndarray, "N L"], Bool[np.ndarray, "N L"]]:
    """First pieces of each token in a rectangle; padding repeats id 0."""
    longest = min(int(pieces.lengths.max(initial=1)), max_pieces)
    at_NL = pieces.offsets[:-1, None] + np.arange(longest)
    is_piece_NL = np.arange(longest) < pieces.lengths[:, None]
    ids_NL = pieces.ids[np.where(is_piece_NL, at_NL, 0)].astype(np.int64)
    return np.where(is_piece_NL, ids_NL, 0), is_piece_NL
