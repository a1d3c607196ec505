"""Old rows as what a network is to make of smaller pieces.

The distance is the lexical loss of ZeTT (Minixhofer, Ponti and Vulic 2024, section 3), which has
the squared distance over the mean norm; in standard deviations of each dimension, the guess that
every row is the mean row comes to 1.

Dimensions: V = old vocabulary, N = tokens, S = sides, D = model width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from tasks.embedding.mean_of_pieces import uniform_weights
from tasks.embedding.old_tokens import OldTokens
from tasks.embedding.piece_rows import made_by, make_all
from tasks.embedding.row_network import RowNetwork


@dataclass(frozen=True)
class OldRows:
    """Old rows to learn from."""

    tokens: OldTokens
    sources: Sequence[Float32[np.ndarray, "V D"]]

    def loss(
        self, network: RowNetwork, n_tokens: int, rng: np.random.Generator
    ) -> Float[Tensor, ""]:
        """Distance of made rows from true ones, on tokens taken apart at random."""
        ids_N = self.tokens.draw(n_tokens, rng)
        made_NSD = made_by(network, self.sources, self.tokens.cut(ids_N, rng))
        return self.distance(network, made_NSD, ids_N)

    def distance(
        self, network: RowNetwork, made_NSD: Float[Tensor, "N S D"], ids_N: Int64[np.ndarray, " N"]
    ) -> Float[Tensor, ""]:
        """Mean square of what made rows miss, in standard deviations of each dimension."""
        missed_NSD = made_NSD - self.true_rows(ids_N, made_NSD.device)
        return (missed_NSD / network.std).square().mean()

    def true_rows(
        self, ids_N: Int64[np.ndarray, " N"], device: torch.device
    ) -> Float[Tensor, "N S D"]:
        """The rows of old tokens."""
        true_NSD = np.stack([rows_VD[ids_N] for rows_VD in self.sources], axis=1)
        return torch.from_numpy(true_NSD).to(device)

    def held_out_errors(self, network: RowNetwork, seed: int) -> tuple[float, float]:
        """Distance on old tokens that were never examples, and that of the mean of pieces."""
        rng = np.random.default_rng([seed, 2])
        ids_N = self.tokens.held_out
        pieces = self.tokens.cut(ids_N, rng)
        weights = uniform_weights(pieces)
        made_NSD = make_all(network, self.sources, pieces)
        means_NSD = np.stack([weights.rows(rows_VD) for rows_VD in self.sources], axis=1)
        made, means = (
            float(self.distance(network, torch.from_numpy(rows).to(network.std.device), ids_N))
            for rows in (made_NSD, means_NSD)
        )
        return made, means
