"""How much of a regression a row network starts from, by how the model reads its rows; our own."""

from collections.abc import Sequence

import numpy as np
import torch

from tasks.embedding.linear_lesson import Regression
from tasks.embedding.network_text import TextTeacher
from tasks.embedding.row_network import RowNetwork
from tasks.embedding.sampled_batches import SampledBatch

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
N_BATCHES = 4


@torch.no_grad()
def losses_by_share(
    network: RowNetwork,
    regression: Regression,
    teacher: TextTeacher,
    batches: Sequence[SampledBatch],
    compute_dtype: torch.dtype,
    seed: int,
) -> dict[float, float]:
    """Mean loss of text with rows by each share of a regression.

    Args:
        network: untrained; it is left with the last share.
        regression: fitted on old rows.
        teacher: what text teaches.
        batches: the same for every share.
        compute_dtype: of matrix products.
        seed: chooses negatives, the same for every share.
    """
    device, is_bfloat16 = network.mean.device.type, compute_dtype == torch.bfloat16
    losses = dict[float, float]()
    for share in SHARES:
        regression.put_into(network, share)
        rng = np.random.default_rng([seed, 5])
        with torch.autocast(device, dtype=torch.bfloat16, enabled=is_bfloat16):
            of_batches = [float(teacher.loss(network, batch, rng)[0]) for batch in batches]
        losses[share] = float(np.mean(of_batches))
    return losses
