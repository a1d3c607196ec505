"""Losses of a row network on text: through the frozen body, to the rows, to the network.

Dimensions: V = old vocabulary, W = new vocabulary, U = distinct tokens of a batch and others,
Q = tokens whose rows are made, S = sides, D = model width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from tasks.embedding.frozen_body import FrozenBody
from tasks.embedding.mean_of_pieces import uniform_weights
from tasks.embedding.next_token import Candidates, next_token_loss
from tasks.embedding.piece_rows import made_by
from tasks.embedding.pieces import Pieces
from tasks.embedding.row_network import RowNetwork
from tasks.embedding.sampled_batches import SampledBatch
from tasks.embedding.state_distance import state_distance

TextLoss = Literal["hidden_states", "tokens", "first_pieces"]


@dataclass(frozen=True)
class TextTeacher:
    """The loss of one batch.

    ``hidden_states``: distance of states from those over old pieces. ``tokens``: next token by
    head rows that the network makes too. ``first_pieces``: the next token's first old piece by the
    old head.
    """

    kind: TextLoss
    body: FrozenBody
    sources: Sequence[Float32[np.ndarray, "V D"]]
    """Old input rows, and old head rows where the network makes these too."""
    head: Float32[np.ndarray, "V D"]
    head_bias: Float32[np.ndarray, " V"]
    logit_scale: float
    pieces: Pieces
    """Old pieces of every new token."""
    n_negatives: int
    """Old tokens drawn beside the batch's own, for ``first_pieces``."""

    def loss(
        self, network: RowNetwork, batch: SampledBatch, rng: np.random.Generator
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "Q S D"]]:
        """Loss of a batch, and the rows that the network made for it."""
        made_QSD = made_by(network, self.sources, batch.pieces)
        rows_UD = self._rows(batch, made_QSD, 0)
        slots = torch.from_numpy(batch.slots).to(rows_UD.device)
        if self.kind == "hidden_states":
            return state_distance(self.body, batch.text, rows_UD[slots]), made_QSD
        states_BLD = self.body.states(rows_UD[slots])
        if self.kind == "tokens":
            targets, candidates = batch.slots, self._tokens(batch, made_QSD)
        else:
            targets, candidates = self._first_pieces(batch, rng)
        text = batch.text.is_text
        loss = next_token_loss(states_BLD, targets, text, candidates, self.logit_scale)
        return loss, made_QSD

    def _rows(
        self, batch: SampledBatch, made_QSD: Float[Tensor, "Q S D"], side: int
    ) -> Float[Tensor, "U D"]:
        """Old rows of the tokens that keep theirs, made ones of the others."""
        old_UD = torch.from_numpy(self.sources[side][np.maximum(batch.old, 0)])
        is_made = torch.from_numpy(batch.old < 0).to(made_QSD.device)
        return old_UD.to(made_QSD.device).index_put((is_made,), made_QSD[:, side].float())

    def _tokens(self, batch: SampledBatch, made_QSD: Float[Tensor, "Q S D"]) -> Candidates:
        """All tokens of the batch, by made or old head rows; a tied head has the input's."""
        side = len(self.sources) - 1
        of_token = [self.pieces.of(token) for token in batch.tokens.tolist()]
        bias_U1 = uniform_weights(Pieces.from_lists(of_token)).rows(self.head_bias[:, None])
        return Candidates(
            self._rows(batch, made_QSD, side),
            torch.from_numpy(bias_U1[:, 0]).to(made_QSD.device),
            batch.n_of_text,
            int((self.pieces.lengths > 0).sum()),
        )

    def _first_pieces(
        self, batch: SampledBatch, rng: np.random.Generator
    ) -> tuple[Int64[np.ndarray, "B L"], Candidates]:
        """Old tokens, of which the batch's tokens begin with the first ones."""
        device = self.body.table.weight.device
        first_T = self.pieces.first()[batch.tokens[: batch.n_of_text]]
        own, slot_T = np.unique(first_T, return_inverse=True)
        n_others = min(self.n_negatives, len(self.head) - len(own))
        others = rng.choice(
            np.delete(np.arange(len(self.head)), own), n_others, replace=False, shuffle=False
        )
        ids = np.append(own, others)
        candidates = Candidates(
            torch.from_numpy(self.head[ids]).to(device),
            torch.from_numpy(self.head_bias[ids]).to(device),
            len(own),
            len(self.head),
        )
        return slot_T[batch.slots], candidates
