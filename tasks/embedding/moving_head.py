"""A head of which some rows move: each by itself, and many by a map that they share.

Dimensions: W = new vocabulary, K = tokens whose own rows may move, M = tokens that share the map,
F = features, N = positions, C = candidates, D = model width.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn

from tasks.embedding.next_token import Candidates, candidate_loss
from tasks.embedding.states_of_text import States


@dataclass(frozen=True)
class FixedHead:
    """The head as it stands before the fit."""

    rows: Float32[np.ndarray, "W D"]
    bias: Float32[np.ndarray, " W"] | None
    logit_scale: float
    """What the model multiplies the head's output with."""


@dataclass(frozen=True)
class Movable:
    """Tokens whose head rows may move."""

    own: Int64[np.ndarray, " K"]
    """Each by itself."""
    mapped: Int64[np.ndarray, " M"]
    """By what the shared map makes of their features."""
    features: Float32[np.ndarray, "M F"]


def centred(rows_MF: Float32[np.ndarray, "M F"]) -> Float32[np.ndarray, "M F"]:
    """Features of input rows: without their mean, of norm 1 in the mean."""
    if not len(rows_MF):
        return rows_MF
    features_MF = rows_MF - rows_MF.mean(axis=0)
    norm = float(np.linalg.norm(features_MF, axis=1).mean())
    return features_MF / norm if norm > 0.0 else features_MF


@dataclass(frozen=True)
class MovingHead:
    """What is added to the rows of a head, and the optimizers between two steps."""

    head: FixedHead
    movable: Movable
    fixed: Float32[Tensor, "W D"]
    bias: Float32[Tensor, " W"]
    moves: nn.Embedding
    """What is added to each row that moves by itself."""
    map: Float32[Tensor, "F D"] | None
    features: Float32[Tensor, "M F"]
    slots: tuple[Int64[Tensor, " W"], Int64[Tensor, " W"]]
    """Where a token is among those that move by themselves, and those of the map; else -1."""
    optimizers: tuple[tuple[torch.optim.Optimizer, float], ...]
    """Each with its peak rate."""

    @classmethod
    def of(
        cls,
        head: FixedHead,
        movable: Movable,
        device: torch.device,
        lr: float,
        lr_map: float | None,
    ) -> "MovingHead":
        """Nothing is moved yet; rates are peaks, and without ``lr_map`` there is no map."""
        width = head.rows.shape[1]
        moves = nn.Embedding.from_pretrained(
            torch.zeros(len(movable.own), width, device=device), freeze=False, sparse=True
        )
        # Adam that moves only rows with a gradient: a row's rare turns are not blurred by decay.
        single = torch.optim.SparseAdam(list(moves.parameters()), lr=lr)
        optimizers: list[tuple[torch.optim.Optimizer, float]] = [(single, lr)]
        shared = None
        if lr_map is not None and len(movable.mapped):
            n_features = movable.features.shape[1]
            shared = torch.zeros(n_features, width, device=device, requires_grad=True)
            optimizers.append((torch.optim.Adam([shared]), lr_map))
        bias_W = np.zeros(len(head.rows), np.float32) if head.bias is None else head.bias
        fixed, bias, features = (
            torch.from_numpy(array).to(device) for array in (head.rows, bias_W, movable.features)
        )
        slots = tuple(
            _slots(tokens, len(head.rows)).to(device) for tokens in (movable.own, movable.mapped)
        )
        return cls(
            head, movable, fixed, bias, moves, shared, features, (slots[0], slots[1]),
            tuple(optimizers),
        )  # fmt: skip

    def step(
        self,
        text: States,
        at_N: Int64[np.ndarray, " N"],
        n_negatives: int,
        rate: float,
        rng: np.random.Generator,
    ) -> float:
        """Take one step; returns the loss before it.

        Args:
            text: states and next tokens.
            at_N: the positions of this step.
            n_negatives: draws of tokens that stand for all others.
            rate: share of the peak rates.
            rng: draws them.
        """
        device = self.fixed.device
        own, slot_N = np.unique(text.targets[at_N], return_inverse=True)
        others = np.setdiff1d(rng.integers(len(self.fixed), size=n_negatives), own)
        tokens_C = torch.from_numpy(np.append(own, others)).to(device)
        candidates = Candidates(
            self._rows(tokens_C), self.bias[tokens_C], len(own), len(self.fixed)
        )
        states_ND = text.states[torch.from_numpy(at_N)].to(device)
        loss = candidate_loss(
            states_ND, torch.from_numpy(slot_N).to(device), candidates, self.head.logit_scale
        )
        loss.backward()
        for optimizer, peak in self.optimizers:
            optimizer.param_groups[0]["lr"] = peak * rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    def _rows(self, tokens_C: Int64[Tensor, " C"]) -> Float[Tensor, "C D"]:
        rows_CD = self.fixed[tokens_C]
        single_C, mapped_C = (slots[tokens_C] for slots in self.slots)
        if self.map is not None:
            at = mapped_C >= 0
            rows_CD = rows_CD.index_put((at,), rows_CD[at] + self.features[mapped_C[at]] @ self.map)
        at = single_C >= 0
        return rows_CD.index_put((at,), rows_CD[at] + self.moves(single_C[at]))

    @torch.no_grad()
    def result(self) -> Float32[np.ndarray, "W D"]:
        """Rows of all tokens."""
        rows_WD = self.head.rows.copy()
        if self.map is not None:
            rows_WD[self.movable.mapped] += (self.features @ self.map).cpu().numpy()
        rows_WD[self.movable.own] += self.moves.weight.cpu().numpy()
        return rows_WD


def _slots(tokens_K: Int64[np.ndarray, " K"], n_tokens: int) -> Int64[Tensor, " W"]:
    slots_W = np.full(n_tokens, -1, np.int64)
    slots_W[tokens_K] = np.arange(len(tokens_K))
    return torch.from_numpy(slots_W)
