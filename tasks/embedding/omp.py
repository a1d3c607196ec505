"""Rows by orthogonal matching pursuit in a donor's space.

The donor owns the new tokenizer. Its row of a new token is written as a sum of few rows of shared
tokens, chosen greedily: the anchor with the largest absolute inner product with what is left, then
the best fit by all chosen so far. The same sum of the source model's rows is the new row. Anchors
keep their norms, so that long ones are chosen first, unless ``normalised``.
Source: Training-Free Tokenizer Transplantation via Orthogonal Matching Pursuit (Goddard and
Fernandes Neto 2025); the pursuit itself: Pati, Rezaiifar and Krishnaprasad 1993.

Nearly all the time goes into inner products of residuals with all anchors. They are taken of
vectors rounded to 8 bits, and in full for those anchors only that rounding could have cost the
first place.

Dimensions: K = tokens that need rows, A = anchors, C = donor width, N = anchors a token.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64

from tasks.embedding.anchors import Anchors
from tasks.embedding.omp_kernels import quantise, solve_weights, step
from tasks.embedding.row_weights import RowWeights

BLOCK_BYTES = 1 << 28
"""Of what is kept of the targets worked on at a time: above all k vectors of the donor's width
each."""
MAX_BLOCK = 256
"""Targets at a time where bytes allow more; their products with all anchors take memory too."""
MET = 1e-6
"""A residual this small beside its target is rounding."""
SURE = 8.0
"""Rounding errors are bounded by so many standard deviations of theirs, or in few dimensions by
what they cannot exceed."""


@dataclass(frozen=True)
class Pursuit:
    """What was chosen for each token, in the order of choice; weight 0 where fewer sufficed."""

    anchors: Int64[np.ndarray, "K N"]
    weights: Float64[np.ndarray, "K N"]
    residual: Float32[np.ndarray, " K"]
    """Norm of what the sum leaves of the token's donor row."""

    def row_weights(self, anchors: Anchors) -> RowWeights:
        """Say it in old ids."""
        return RowWeights.from_table(anchors.ids[self.anchors], self.weights.astype(np.float32))


def pursue(
    targets_KC: Float32[np.ndarray, "K C"],
    anchors_AC: Float32[np.ndarray, "A C"],
    k: int,
    *,
    normalised: bool = False,
    block: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Pursuit:
    """Approximate each target by a sum of at most ``k`` anchors.

    Args:
        targets_KC: donor rows of the tokens that need rows.
        anchors_AC: donor rows of the shared tokens, at least ``k``.
        k: anchors a token.
        normalised: choose by direction alone, as if all anchors had norm 1.
        block: targets worked on at a time, as many as ``BLOCK_BYTES`` allow by default; the result
            does not depend on it.
        progress: called with targets done and targets in all.
    """
    block = block or _block(k, targets_KC.shape[1])
    norms_A = np.ones(len(anchors_AC), np.float32)
    if normalised:
        norms_A = np.maximum(np.linalg.norm(anchors_AC, axis=1), np.float32(1e-30))
        anchors_AC = anchors_AC / norms_A[:, None]
    # Turning all vectors alike changes no inner product, and spreads what a few large entries hold
    # over all, which makes rounding finer.
    turn_CC = _random_rotation(targets_KC.shape[1])
    atoms = _Atoms.of(anchors_AC @ turn_CC)
    made = Pursuit(
        np.zeros((len(targets_KC), k), np.int64),
        np.zeros((len(targets_KC), k)),
        np.zeros(len(targets_KC), np.float32),
    )
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for start in range(0, len(targets_KC), MAX_BLOCK):
            # Turned in parts that do not follow the block, since a product rounds by its size.
            turned_TC = targets_KC[start : start + MAX_BLOCK] @ turn_CC
            for first in range(0, len(turned_TC), block):
                targets_BC = turned_TC[first : first + block]
                part = slice(start + first, start + first + len(targets_BC))
                _pursue_block(targets_BC, atoms, pool, made, part)
                progress(part.stop, len(targets_KC))
    made.weights[:] /= norms_A[made.anchors]
    return made


def omp(
    targets_KC: Float32[np.ndarray, "K C"],
    anchors: Anchors,
    k: int = 64,
    *,
    normalised: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[RowWeights, Float32[np.ndarray, " K"]]:
    """Give each token the weights of its pursuit over old rows.

    Args:
        targets_KC: donor rows of the tokens that need rows.
        anchors: shared tokens.
        k: anchors a token.
        normalised: choose by direction alone, as if all anchors had norm 1.
        progress: called with tokens done and tokens in all.

    Returns:
        Weights, and the norm of what they leave of each donor row, as a share of it.

    Raises:
        TooFewAnchorsError: there are fewer than ``k``.
    """
    anchors.need(k, f"omp with k = {k}")
    found = pursue(targets_KC, anchors.donor, k, normalised=normalised, progress=progress)
    norms_K = np.maximum(np.linalg.norm(targets_KC, axis=1), np.float32(1e-30))
    return found.row_weights(anchors), found.residual / norms_K


@dataclass(frozen=True)
class _Atoms:
    """Anchors, rounded to 8 bits beside what they were."""

    rows: Float32[np.ndarray, "A C"]
    norms: Float32[np.ndarray, " A"]
    whole: torch.Tensor
    scales: Float32[np.ndarray, " A"]
    missed: Float32[np.ndarray, " A"]

    @classmethod
    def of(cls, rows_AC: Float32[np.ndarray, "A C"]) -> "_Atoms":
        rows_AC = np.ascontiguousarray(rows_AC, np.float32)
        norms_A = np.linalg.norm(rows_AC, axis=1).astype(np.float32)
        return cls(rows_AC, norms_A, *_rounded(rows_AC))


def _block(k: int, width: int) -> int:
    """How many targets' basis, factor and residual fit in ``BLOCK_BYTES``, all in float32."""
    return int(np.clip(BLOCK_BYTES // (4 * (k * (width + k) + width)), 1, MAX_BLOCK))


def _random_rotation(width: int) -> Float32[np.ndarray, "C C"]:
    gaussian_CC = np.random.default_rng(0).standard_normal((width, width))
    return np.linalg.qr(gaussian_CC)[0].astype(np.float32)


def _rounded(
    rows_BC: Float32[np.ndarray, "B C"],
) -> tuple[torch.Tensor, Float32[np.ndarray, " B"], Float32[np.ndarray, " B"]]:
    whole = np.empty(rows_BC.shape, np.int8)
    scales, missed = np.empty(len(rows_BC), np.float32), np.empty(len(rows_BC), np.float32)
    quantise(rows_BC, whole, scales, missed)
    return torch.from_numpy(whole), scales, missed


def _pursue_block(
    targets_BC: Float32[np.ndarray, "B C"],
    atoms: _Atoms,
    pool: ThreadPoolExecutor,
    made: Pursuit,
    part: slice,
) -> None:
    (n, width), k = targets_BC.shape, made.anchors.shape[1]
    sure = min(1.0, SURE / width**0.5)
    residual_BC = np.array(targets_BC, np.float32, order="C")
    floor_B = (np.linalg.norm(residual_BC, axis=1) * MET).astype(np.float32)
    basis_BNC = np.empty((n, k, width), np.float32)
    factor_BNN, along_BN = np.zeros((n, k, k), np.float32), np.zeros((n, k), np.float32)
    chosen_BN, n_chosen_B, done_B = made.anchors[part], np.zeros(n, np.int64), np.zeros(n, bool)
    for _ in range(k):
        places = np.flatnonzero(~done_B)
        if not len(places):
            break
        whole, own_scales, own_missed = _rounded(residual_BC[places])
        products = torch._int_mm(whole, atoms.whole.T).numpy()  # pyright: ignore[reportPrivateImportUsage, reportPrivateUsage]

        def work(first: int, last: int) -> None:
            step(
                products, sure, atoms.scales, atoms.missed, atoms.norms, atoms.rows,  # noqa: B023
                own_scales, own_missed, places, residual_BC, basis_BNC, factor_BNN,  # noqa: B023
                along_BN, chosen_BN, n_chosen_B, done_B, floor_B, first, last,
            )  # fmt: skip

        edges = np.linspace(0, len(places), torch.get_num_threads() + 1).astype(int).tolist()
        list(pool.map(work, edges[:-1], edges[1:]))
    solve_weights(factor_BNN, along_BN, n_chosen_B, made.weights[part])
    made.residual[part] = np.linalg.norm(residual_BC, axis=1)
