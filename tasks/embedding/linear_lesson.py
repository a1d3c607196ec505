"""The linear part of a row network, fitted in closed form on old tokens taken apart.

Ridge regression of what old rows have beyond the mean of their smaller pieces, on the first piece,
the last and the mean: our merge regression for any number of pieces. A share of it is taken: rows
that are nearest to the true ones on average are not those that a model reads best.

Dimensions: N = tokens, S = sides, F = 3 D features, D = model width.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from scipy.linalg import solve

from tasks.embedding.old_rows import OldRows
from tasks.embedding.piece_rows import PieceRows
from tasks.embedding.row_network import RowNetwork

BLOCK_TOKENS = 4096


@dataclass
class _Moments:
    """Sums over examples, of one side."""

    n: int
    x: Float64[np.ndarray, " F"]
    y: Float64[np.ndarray, " D"]
    xx: Float64[np.ndarray, "F F"]
    xy: Float64[np.ndarray, "F D"]

    @classmethod
    def zeros(cls, width: int) -> "_Moments":
        f = 3 * width
        return cls(0, np.zeros(f), np.zeros(width), np.zeros((f, f)), np.zeros((f, width)))

    def add(self, x_NF: Float64[np.ndarray, "N F"], y_ND: Float64[np.ndarray, "N D"]) -> None:
        self.n += len(x_NF)
        self.x += x_NF.sum(axis=0)
        self.y += y_ND.sum(axis=0)
        self.xx += x_NF.T @ x_NF
        self.xy += x_NF.T @ y_ND

    def solve(self, ridge: float) -> tuple[Float64[np.ndarray, "F D"], Float64[np.ndarray, " D"]]:
        """Weights and bias; the bias is not penalised, since both sides are centred first."""
        mean_F, mean_D = self.x / self.n, self.y / self.n
        gram_FF = self.xx - self.n * np.outer(mean_F, mean_F)
        gram_FF.flat[:: len(gram_FF) + 1] += ridge * np.trace(gram_FF) / len(gram_FF)
        cross_FD = self.xy - self.n * np.outer(mean_F, mean_D)
        weights_FD = solve(gram_FF, cross_FD, assume_a="pos")
        return weights_FD, mean_D - mean_F @ weights_FD


@dataclass(frozen=True)
class Regression:
    """Linear maps and biases of the sides."""

    weights: Float64[np.ndarray, "S F D"]
    bias: Float64[np.ndarray, "S D"]

    @torch.no_grad()
    def put_into(self, network: RowNetwork, share: float) -> None:
        """Set a network's linear map and the bias of its last projection to a share of these."""
        network.linear.copy_(torch.from_numpy(share * self.weights))
        network.out.bias.copy_(torch.from_numpy(share * self.bias.ravel()))


@torch.no_grad()
def fit_linear(network: RowNetwork, old: OldRows, ridge: float, seed: int) -> Regression:
    """Fit the linear part of an untrained network, in float64.

    Args:
        network: reads the features; it is left as it was.
        old: every example is taken apart once.
        ridge: strength, as a multiple of the features' mean variance.
        seed: chooses how tokens are taken apart.
    """
    rng = np.random.default_rng([seed, 3])
    shape = network.shape
    moments = [_Moments.zeros(shape.width) for _ in range(shape.n_sides)]
    for start in range(0, len(old.tokens.taught), BLOCK_TOKENS):
        ids_N = old.tokens.taught[start : start + BLOCK_TOKENS]
        pieces = old.tokens.cut(ids_N, rng)
        read = PieceRows.of(old.sources, pieces, shape.max_pieces, network.mean.device)
        features_NSF = network.linear_features(read.rows, read.is_piece, read.means)
        missed_NSD = (old.true_rows(ids_N, network.mean.device) - read.means) / network.std
        x_NSF, y_NSD = (part.cpu().double().numpy() for part in (features_NSF, missed_NSD))
        for side, sums in enumerate(moments):
            sums.add(x_NSF[:, side], y_NSD[:, side])
    weights, biases = zip(*(sums.solve(ridge) for sums in moments), strict=True)
    return Regression(np.stack(weights), np.stack(biases))
