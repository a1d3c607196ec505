"""States in front of next tokens, as a frozen body reads text in rows of one's own.

Dimensions: W = new vocabulary, B = windows, L = tokens of a window, N = positions, D = model width.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from tasks.embedding.frozen_body import FrozenBody

WINDOWS_AT_ONCE = 8
BYTES_AT_ONCE = 1 << 29
"""Of states of one part: 4 D bytes a position. While one is made, that before is still there."""


@dataclass(frozen=True)
class States:
    """What the head receives, and the token that came next."""

    states: Float32[Tensor, "N D"]
    targets: Int64[np.ndarray, " N"]


def n_positions(windows: Sequence[Sequence[int]]) -> int:
    """Next tokens of windows whose first token is given."""
    return sum(len(window) - 1 for window in windows)


@torch.no_grad()
def read_states(
    body: FrozenBody,
    rows_WD: Float32[Tensor, "W D"],
    windows: Sequence[Sequence[int]],
    compute_dtype: torch.dtype,
    progress: Callable[[int], None] = lambda n_read: None,
) -> Iterator[States]:
    """Read windows in their order, a part of bounded size at a time.

    Args:
        body: a model without its own rows.
        rows_WD: input rows of the new vocabulary, on the body's device.
        windows: token ids, each window a text of its own behind its first token.
        compute_dtype: of matrix products: float32 or bfloat16.
        progress: hears how many positions were read so far.
    """
    states, targets, n_read, n_before = list[Tensor](), list[np.ndarray](), 0, 0
    n_at_once = BYTES_AT_ONCE // (4 * rows_WD.shape[1])
    for start in range(0, len(windows), WINDOWS_AT_ONCE):
        some = [np.array(window, np.int64) for window in windows[start : start + WINDOWS_AT_ONCE]]
        longest = max(map(len, some))
        ids_BL = np.stack([np.pad(window, (0, longest - len(window))) for window in some])
        ends_B = np.array([len(window) for window in some])
        is_read_BL = torch.from_numpy(np.arange(longest) < ends_B[:, None] - 1)
        ids = torch.from_numpy(ids_BL).to(rows_WD.device)
        with torch.autocast(
            rows_WD.device.type, torch.bfloat16, enabled=compute_dtype == torch.bfloat16
        ):
            states_BLD = body.states(rows_WD[ids])
        states.append(states_BLD[is_read_BL.to(rows_WD.device)])
        targets += [window[1:] for window in some]
        n_read += len(states[-1])
        progress(n_before + n_read)
        if n_read >= n_at_once or start + WINDOWS_AT_ONCE >= len(windows):
            part = States(torch.cat(states), np.concatenate(targets))
            states, targets, n_read, n_before = [], [], 0, n_before + n_read
            yield part
