"""How far the states of a frozen body over new tokens are from those over old pieces.

Dimensions: B = windows, L = new tokens of a window, D = model width.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tasks.embedding.frozen_body import FrozenBody
from tasks.embedding.paired_batches import Batch

ROUNDING = 1e-10
"""Share of their square below which the variance of states is rounding."""


def state_distance(
    body: FrozenBody, batch: Batch, rows_BLD: Float[Tensor, "B L D"]
) -> Float[Tensor, ""]:
    """Squared distance of the states at shared boundaries, over their variance.

    States that do not vary, as those of a batch with one shared boundary, are measured by their
    own square instead: such a batch still says where its one state should lie.

    Args:
        body: reads both cuts; no gradient goes to its states over old pieces.
        batch: one text under both tokenizers.
        rows_BLD: input rows of the new tokens.
    """
    device = rows_BLD.device

    def put(array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(device, torch.int64)

    with torch.no_grad():
        states_BLD = body.states(body.old_rows(put(batch.old)))
        wanted_PD = states_BLD[put(batch.window), put(batch.old_at)]
    states_BLD = body.states(rows_BLD)
    found_PD = states_BLD[put(batch.window), put(batch.new_at)]
    spread = (wanted_PD - wanted_PD.mean(dim=0)).square().sum()
    square = wanted_PD.square().sum()
    scale = torch.where(spread > ROUNDING * square, spread, square)
    return (found_PD - wanted_PD).square().sum() / scale
