"""A network from the rows of a token's pieces to the row of the token.

Rows of the pieces, each dimension brought to mean 0 and standard deviation 1 over the old
vocabulary, pass a projection, transformer layers that see all pieces, and a projection back; beside
that a linear map reads the first piece, the last and the mean of all. The sum is scaled back and
added to the mean of the pieces' rows. Map and last projection start at zero, so that an untrained
network is the mean of pieces.
Source: ZeTT (Minixhofer, Ponti and Vulic 2024, section 3), which has no such map, reads one state
where here the first, the last and the mean of all are read, and predicts rows, not their distance
from a mean.

Dimensions: N = tokens, L = pieces, S = sides (input, or input and head), V = old vocabulary,
D = model width, H = width of the layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor, nn

HEAD_WIDTH = 64


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
        # Each side reads its own rows alone, which keeps the sums behind the regression small.
        self.linear = nn.Parameter(torch.zeros(shape.n_sides, 3 * shape.width, shape.width))
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
        centred_NLSD = (rows_NLSD - self.mean) / self.std
        features_NSF = self.linear_features(rows_NLSD, is_piece_NL, means_NSD)
        linear_NSD = torch.einsum("nsf,sfd->nsd", features_NSF, self.linear)
        states_NLH = self.project(centred_NLSD.flatten(2))
        states_NLH = states_NLH + self.position[: states_NLH.shape[1]]
        for layer in self.layers:
            states_NLH = layer(states_NLH, src_key_padding_mask=~is_piece_NL)
        states_NLH = self.norm(states_NLH) * is_piece_NL[:, :, None]
        mean_NH = states_NLH.sum(dim=1) / is_piece_NL.sum(dim=1)[:, None]
        out_NX = self.out(_ends_and_mean(states_NLH, is_piece_NL, mean_NH))
        distance_NSD = linear_NSD.float() + out_NX.view_as(means_NSD).float()
        return means_NSD + self.std * distance_NSD

    def linear_features(
        self,
        rows_NLSD: Float[Tensor, "N L S D"],
        is_piece_NL: Bool[Tensor, "N L"],
        means_NSD: Float[Tensor, "N S D"],
    ) -> Float[Tensor, "N S F"]:
        """What the linear map reads; F = 3 D."""
        centred_NLSD = (rows_NLSD - self.mean) / self.std
        return _ends_and_mean(centred_NLSD, is_piece_NL, (means_NSD - self.mean) / self.std)


def _ends_and_mean(
    states: Float[Tensor, "N L ..."], is_piece_NL: Bool[Tensor, "N L"], means: Tensor
) -> Tensor:
    """State of the first piece, of the last, and the mean, side by side."""
    last = states[torch.arange(len(states), device=states.device), is_piece_NL.sum(dim=1) - 1]
    return torch.cat([states[:, 0], last, means], dim=-1)


def _layer(hidden: int) -> nn.TransformerEncoderLayer:
    most = max(1, hidden // HEAD_WIDTH)
    n_heads = next(n for n in range(most, 0, -1) if hidden % n == 0)
    return nn.TransformerEncoderLayer(
        hidden, n_heads, 2 * hidden, dropout=0.0, activation="gelu",
        batch_first=True, norm_first=True,
    )  # fmt: skip
