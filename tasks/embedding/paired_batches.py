"""Windows under two tokenizers as padded arrays, drawn in a fixed random order.

Dimensions: B = windows, L = longest of them, P = shared boundaries of all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from tasks.embedding.two_cuts import PairedWindow


@dataclass(frozen=True)
class Batch:
    """Windows of a step. Padding repeats id 0 on the right, where a causal model sees it last."""

    old: Int64[np.ndarray, "B N"]
    new: Int64[np.ndarray, "B M"]
    is_text: Bool[np.ndarray, "B M"]
    """Where ``new`` is no padding."""
    window: Int64[np.ndarray, " P"]
    """Window of each shared boundary."""
    old_at: Int64[np.ndarray, " P"]
    new_at: Int64[np.ndarray, " P"]


def draw_batches(
    windows: Sequence[PairedWindow], n_windows: int, n_batches: int, seed: int
) -> Iterator[Batch]:
    """Go through the windows in random order, again and again in another one.

    Args:
        windows: at least one.
        n_windows: of a batch.
        n_batches: how many to draw.
        seed: chooses the orders.
    """
    return map(batch_of, draw_windows(windows, n_windows, n_batches, seed))


def draw_windows(
    windows: Sequence[PairedWindow], n_windows: int, n_batches: int, seed: int
) -> Iterator[list[PairedWindow]]:
    """Draw the same windows before they are padded."""
    rng = np.random.default_rng(seed)
    waiting: list[int] = []
    for _ in range(n_batches):
        while len(waiting) < n_windows:
            waiting += rng.permutation(len(windows)).tolist()
        yield [windows[i] for i in waiting[:n_windows]]
        del waiting[:n_windows]


def batch_of(windows: Sequence[PairedWindow]) -> Batch:
    """Pad windows to a common length."""
    old_BL, _ = _pad([window.old for window in windows])
    new_BL, is_text_BL = _pad([window.new for window in windows])
    return Batch(
        old_BL,
        new_BL,
        is_text_BL,
        np.repeat(np.arange(len(windows)), [len(window.old_at) for window in windows]),
        np.concatenate([window.old_at for window in windows]),
        np.concatenate([window.new_at for window in windows]),
    )


def _pad(rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Write rows of various lengths below each other; also where they are."""
    lengths_B = np.array([len(row) for row in rows])
    is_text_BL = np.arange(lengths_B.max()) < lengths_B[:, None]
    ids_BL = np.zeros(is_text_BL.shape, np.int64)
    ids_BL[is_text_BL] = np.concatenate(rows)
    return ids_BL, is_text_BL
