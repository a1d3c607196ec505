"""States in front of next tokens, as a frozen body reads text in rows of one's own.

They lie in a temporary file that is mapped into memory, so that there may be more of them than
memory holds, and all are drawn from alike.

Dimensions: W = new vocabulary, B = windows, L = tokens of a window, N = positions, D = model width.
"""

import os
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from tasks.embedding.frozen_body import FrozenBody
from tasks.shared.errors import InputError

WINDOWS_AT_ONCE = 8


class NoRoomForStatesError(InputError):
    """The disk of temporary files is too small for the states."""


@dataclass(frozen=True)
class States:
    """What the head receives, and the token that came next."""

    states: Float32[Tensor, "N D"]
    targets: Int64[np.ndarray, " N"]


@contextmanager
def read_states(
    body: FrozenBody,
    rows_WD: Float32[Tensor, "W D"],
    windows: Sequence[Sequence[int]],
    compute_dtype: torch.dtype,
    progress: Callable[[int, int], None] = lambda n_read, n_all: None,
) -> Generator[States]:
    """Read windows whose first token is given; the states are there as long as the context lasts.

    Args:
        body: a model without its own rows.
        rows_WD: input rows of the new vocabulary, on the body's device.
        windows: token ids, each window a text of its own behind its first token.
        compute_dtype: of matrix products: float32 or bfloat16.
        progress: hears how many positions were read so far, and how many there are.

    Raises:
        NoRoomForStatesError: they need 4 D bytes a position.
    """
    targets_N = np.array([token for window in windows for token in window[1:]], np.int64)
    with _mapped(len(targets_N), rows_WD.shape[1]) as states_ND:
        n_read = 0
        for start in range(0, len(windows), WINDOWS_AT_ONCE):
            some = windows[start : start + WINDOWS_AT_ONCE]
            some_ND = _states(body, rows_WD, some, compute_dtype)
            states_ND[n_read : n_read + len(some_ND)] = some_ND
            n_read += len(some_ND)
            progress(n_read, len(targets_N))
        yield States(states_ND, targets_N)


@torch.no_grad()
def _states(
    body: FrozenBody,
    rows_WD: Float32[Tensor, "W D"],
    windows: Sequence[Sequence[int]],
    compute_dtype: torch.dtype,
) -> Float32[Tensor, "N D"]:
    """States at all but the last token of each window, window after window."""
    longest = max(map(len, windows))
    ids_BL = np.stack([np.pad(window, (0, longest - len(window))) for window in windows])
    ends_B = np.array([len(window) for window in windows])
    is_read_BL = torch.from_numpy(np.arange(longest) < ends_B[:, None] - 1)
    device = rows_WD.device
    rows_BLD = rows_WD[torch.from_numpy(ids_BL).to(device)]
    with torch.autocast(device.type, torch.bfloat16, enabled=compute_dtype == torch.bfloat16):
        return body.states(rows_BLD)[is_read_BL.to(device)]


@contextmanager
def _mapped(n: int, width: int) -> Generator[Float32[Tensor, "N D"]]:
    with tempfile.TemporaryDirectory(prefix="tokgraft-states-") as folder:
        path, n_values = Path(folder) / "states", max(1, n * width)
        with path.open("wb") as file:
            try:
                # A mapped file that only pretends to its length kills the process on a full disk.
                os.posix_fallocate(file.fileno(), 0, 4 * n_values)
            except OSError as error:
                raise NoRoomForStatesError(
                    f"{n:,} states of {width} values need {4 * n_values:,} bytes in {folder}: "
                    f"{error.strerror}; set TMPDIR to a larger disk or lower head_fit.n_positions."
                ) from error
        values = torch.from_file(str(path), shared=True, size=n_values, dtype=torch.float32)
        yield values[: n * width].view(n, width)
