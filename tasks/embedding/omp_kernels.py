"""One step of orthogonal matching pursuit for many targets, compiled.

Dimensions: B = targets in work, A = anchors, D = width, N = most anchors a target may have.
"""

from typing import no_type_check

import numpy as np
from numba import njit

LANES = 128
"""The largest of many is found in so many lanes, which compiles to vector instructions."""
REASSOCIATE = {"nnan", "ninf", "nsz", "reassoc", "contract"}
"""Sums may be reordered into vector lanes."""


@njit(cache=True, nogil=True)
@no_type_check
def quantise(rows, whole, scales, missed):
    """Round rows to whole numbers of -127 to 127 times a scale of their own.

    Args:
        rows: float32 (B, D).
        whole: int8 (B, D), filled.
        scales: float32 (B,), filled.
        missed: float32 (B,), filled with the norm of what rounding takes away.
    """
    for b in range(len(rows)):
        largest = np.float32(0.0)
        for d in range(rows.shape[1]):
            largest = max(largest, abs(rows[b, d]))
        scales[b] = max(largest, np.float32(1e-30)) / np.float32(127.0)
        square = np.float32(0.0)
        for d in range(rows.shape[1]):
            nearest = np.rint(rows[b, d] / scales[b])
            whole[b, d] = np.int8(nearest)
            lost = rows[b, d] - nearest * scales[b]
            square += lost * lost
        missed[b] = np.sqrt(square)


@njit(cache=True, nogil=True, fastmath=REASSOCIATE)
@no_type_check
def _largest(values, lanes):
    lanes[:] = 0
    whole = len(values) - len(values) % LANES
    for start in range(0, whole, LANES):
        for i in range(LANES):
            value = values[start + i]
            lanes[i] = value if value > lanes[i] else lanes[i]
    for a in range(whole, len(values)):
        lanes[0] = max(lanes[0], values[a])
    return lanes.max()


@njit(cache=True, nogil=True, fastmath=REASSOCIATE)
@no_type_check
def step(
    products, sure, scales, missed, norms, anchors, own_scales, own_missed, places, residual, basis,
    factor, along, chosen, n_chosen, done, floor, first, last,
):  # fmt: skip
    """Choose the next anchor of each target and take it out of the residual.

    A product of rounded vectors differs from the true one by no more than what rounding took away
    from one times the norm of the other. It comes nowhere near, since the losses of D entries point
    in all directions: ``sure`` is the share of that bound that is counted on. Only anchors whose
    upper bound reaches the best lower bound are multiplied again in full.

    Args:
        products: int32 (B, A), rounded residuals times rounded anchors.
        sure: share of the bound.
        scales: float32 (A,), of the rounded anchors.
        missed: float32 (A,), norms of what rounding took from the anchors.
        norms: float32 (A,), of the anchors.
        anchors: float32 (A, D).
        own_scales: float32 (B,), of the rounded residuals.
        own_missed: float32 (B,), norms of what rounding took from the residuals.
        places: int64 (B,), where each row's target stands in the arrays below.
        residual: float32 (B, D), changed.
        basis: float32 (B, N, D), orthonormal; one row is added.
        factor: float32 (B, N, N), coordinates of chosen anchors in the basis; a column is added.
        along: float32 (B, N), coordinates of the target in the basis; one is added.
        chosen: int64 (B, N); one is added.
        n_chosen: int64 (B,), changed.
        done: bool (B,), set where no further anchor can help.
        floor: float32 (B,), norm of the residual at which a target counts as met.
        first: first row to work on.
        last: end of the rows.
    """
    n_anchors, width = anchors.shape
    upper, lower = np.empty(n_anchors, np.float32), np.empty(n_anchors, np.float32)
    lanes = np.empty(LANES, np.float32)
    vector = np.empty(width, np.float32)
    part = np.empty(chosen.shape[1], np.float32)
    for row in range(first, last):
        b = places[row]
        s = n_chosen[b]
        rest = residual[b]
        square = np.float32(0.0)
        for d in range(width):
            square += rest[d] * rest[d]
        # Bounds in units of the residual's scale; the last term covers rounding in float32.
        unit = own_scales[row]
        length = np.sqrt(square) / unit
        off = own_missed[row] / unit
        wide = np.float32(sure * (length + off))
        flat = np.float32(sure * off + 1e-6 * length)
        for a in range(n_anchors):
            score = abs(np.float32(products[row, a]) * scales[a])
            slack = wide * missed[a] + flat * norms[a]
            upper[a], lower[a] = score + slack, score - slack
        least = _largest(lower, lanes)
        winner, best = -1, np.float32(0.0)
        for start in range(0, n_anchors, LANES):
            stop = min(start + LANES, n_anchors)
            hit = False
            for a in range(start, stop):
                hit |= upper[a] >= least
            if not hit:
                continue
            for a in range(start, stop):
                if upper[a] < least or upper[a] * unit < best:
                    continue
                dot = np.float32(0.0)
                for d in range(width):
                    dot += anchors[a, d] * rest[d]
                # Of equals the lower id, whatever the order they are met in.
                if abs(dot) > best or (abs(dot) == best and 0 <= a < winner):
                    used = False
                    for j in range(s):
                        used |= chosen[b, j] == a
                    if not used:
                        winner, best = a, abs(dot)
        if winner < 0:
            done[b] = True
            continue
        # Gram-Schmidt, and again where most of the anchor lies in the basis.
        for d in range(width):
            vector[d] = anchors[winner, d]
        for j in range(s):
            factor[b, j, s] = 0
        before, after = norms[winner], norms[winner]
        for _ in range(3):
            for j in range(s):
                dot = np.float32(0.0)
                for d in range(width):
                    dot += basis[b, j, d] * vector[d]
                part[j] = dot
                factor[b, j, s] += dot
            for j in range(s):
                for d in range(width):
                    vector[d] -= part[j] * basis[b, j, d]
            square = np.float32(0.0)
            for d in range(width):
                square += vector[d] * vector[d]
            after = np.sqrt(square)
            if after > np.float32(0.5) * before:
                break
            before = after
        if after <= np.float32(1e-5) * norms[winner]:
            done[b] = True
            continue
        dot = np.float32(0.0)
        for d in range(width):
            vector[d] /= after
            dot += vector[d] * rest[d]
        square = np.float32(0.0)
        for d in range(width):
            basis[b, s, d] = vector[d]
            rest[d] -= dot * vector[d]
            square += rest[d] * rest[d]
        factor[b, s, s] = after
        along[b, s] = dot
        chosen[b, s] = winner
        n_chosen[b] = s + 1
        done[b] = np.sqrt(square) <= floor[b]


@njit(cache=True, nogil=True)
@no_type_check
def solve_weights(factor, along, n_chosen, weights):
    """Solve for the weights of the chosen anchors by back substitution.

    Args:
        factor: float32 (B, N, N), upper triangular.
        along: float32 (B, N), right hand sides.
        n_chosen: int64 (B,), anchors of each target.
        weights: float64 (B, N), filled; zero beyond ``n_chosen``.
    """
    for b in range(len(weights)):
        for i in range(n_chosen[b] - 1, -1, -1):
            total = np.float64(along[b, i])
            for j in range(i + 1, n_chosen[b]):
                total -= factor[b, i, j] * weights[b, j]
            weights[b, i] = total / factor[b, i, i]
