"""A network from the rows of a token's pieces to the row of the token.

Rows of the pieces, each dimension brought to mean 0 and standard deviation 1 over the old
vocabulary, pass a projection, transformer layers that see all pieces, and a projection back. What
comes out is scaled back and added to the mean of the pieces' rows. The last layer starts at zero,
so that an untrained network is the mean of pieces.
Source: ZeTT (Minixhofer, Ponti and Vulic 2024, section 3), which reads one state where here the
first, the last and the mean of all are read, and which predicts rows, not their distance from a
mean.

Dimensions: N = tokens, L = pieces, S = sides (input, or input and head), V = old vocabulary,
D = model width, H = width of the layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor, nn

from tasks.embedding.mean_of_pieces import uniform_weights
from tasks.embedding.pieces import Pieces

HEAD_WIDTH = 64
BLOCK_TOKENS = 4096


@dataclass(frozen=True)
class NetworkShape:
    """What decides the sizes of all weights."""

    n_sides: int
    width: int
    hidden: int
    n_layers: int
    max_pieces: int


class RowNetwork(nn.Module):
    """Distance of a token's rows from the mean of its pieces' rows."""

    mean: Tensor
    std: Tensor

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.shape = shape
        rows = shape.n_sides * shape.width
        self.register_buffer("mean", torch.zeros(shape.n_sides, shape.width))
        self.register_buffer("std", torch.ones(shape.n_sides, shape.width))
        self.project = nn.Linear(rows, shape.hidden)
        self.position = nn.Parameter(0.02 * torch.randn(shape.max_pieces, shape.hidden))
        self.layers = nn.ModuleList(_layer(shape.hidden) for _ in range(shape.n_layers))
        self.norm = nn.LayerNorm(shape.hidden)
        self.out = nn.Linear(3 * shape.hidden, rows)
        self.gain = nn.Parameter(torch.zeros(shape.n_sides, shape.width))
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def standardise_by(self, sources: Sequence[Float32[np.ndarray, "V D"]]) -> None:
        """Take mean and standard deviation of each dimension from old rows, side by side."""
        for side, rows_VD in enumerate(sources):
            self.mean[side] = torch.from_numpy(rows_VD.mean(axis=0, dtype=np.float64))
            std_D = rows_VD.std(axis=0, dtype=np.float64)
            self.std[side] = torch.from_numpy(np.where(std_D > 0, std_D, 1.0))

    def forward(
        self,
        rows_NLSD: Float[Tensor, "N L S D"],
        is_piece_NL: Bool[Tensor, "N L"],
        means_NSD: Float[Tensor, "N S D"],
    ) -> Float[Tensor, "N S D"]:
        """Make the rows of tokens.

        Args:
            rows_NLSD: old rows of their first pieces.
            is_piece_NL: which of these are no padding, which stands on the right.
            means_NSD: mean of the rows of all their pieces.
        """
        states_NLH = self.project(((rows_NLSD - self.mean) / self.std).flatten(2))
        states_NLH = states_NLH + self.position[: states_NLH.shape[1]]
        for layer in self.layers:
            states_NLH = layer(states_NLH, src_key_padding_mask=~is_piece_NL)
        states_NLH = self.norm(states_NLH) * is_piece_NL[:, :, None]
        n_pieces_N = is_piece_NL.sum(dim=1)
        last_NH = states_NLH[torch.arange(len(states_NLH)), n_pieces_N - 1]
        mean_NH = states_NLH.sum(dim=1) / n_pieces_N[:, None]
        read_NX = torch.cat([states_NLH[:, 0], last_NH, mean_NH], dim=1)
        distance_NSD = self.out(read_NX).view_as(means_NSD).float()
        centred_NSD = (means_NSD - self.mean) / self.std
        return means_NSD + self.std * (self.gain * centred_NSD + distance_NSD)


def _layer(hidden: int) -> nn.TransformerEncoderLayer:
    most = max(1, hidden // HEAD_WIDTH)
    n_heads = next(n for n in range(most, 0, -1) if hidden % n == 0)
    return nn.TransformerEncoderLayer(
        hidden, n_heads, 2 * hidden, dropout=0.0, activation="gelu",
        batch_first=True, norm_first=True,
    )  # fmt: skip


def made_by(
    network: RowNetwork, sources: Sequence[Float32[np.ndarray, "V D"]], pieces: Pieces
) -> Float[Tensor, "N S D"]:
    """Make the rows of some tokens, on the network's device, where gradients start.

    Args:
        network: made for so many sides.
        sources: old rows of each side.
        pieces: old ids of each token, none empty.
    """
    device = network.mean.device
    ids_NL, is_piece_NL = _padded(pieces, network.shape.max_pieces)
    weights = uniform_weights(pieces)
    rows_NLSD = np.stack([rows_VD[ids_NL] for rows_VD in sources], axis=2)
    means_NSD = np.stack([weights.rows(rows_VD) for rows_VD in sources], axis=1)
    rows, is_piece, means = (
        torch.from_numpy(array).to(device) for array in (rows_NLSD, is_piece_NL, means_NSD)
    )
    return network(rows, is_piece, means)


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
