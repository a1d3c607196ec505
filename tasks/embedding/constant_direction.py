"""A direction along which all hidden states agree, our stand-in for a head bias.

If h.u = 1 for every final hidden state h, then adding b * u to a head row adds b to its logit
everywhere: a bias in an architecture that has none. Such a u is found by ridge regression of the
constant 1 on hidden states as they reach the head (after the final norm).

Dimensions: N = sampled hidden states, D = model width.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64
from scipy.linalg import solve

from tasks.shared.errors import InputError


class NoConstantDirectionError(InputError):
    """Hidden states of this model share no direction that could carry a bias."""


class TooFewStatesError(InputError):
    """There is too little text to find a direction."""


@dataclass(frozen=True)
class ConstantDirection:
    """What to add to a head row to add 1 to its logit everywhere."""

    direction: Float64[np.ndarray, " D"]
    """Divided by what the model multiplies the head's output with, if anything."""
    spread: float
    """Standard deviation of that product over the sampled hidden states."""


def constant_direction(
    hidden_ND: Float32[np.ndarray, "N D"],
    ridge: float,
    max_spread: float,
    logit_scale: float = 1.0,
) -> ConstantDirection:
    """Find u with h.u close to 1 for all hidden states, scaled to mean 1.

    Args:
        hidden_ND: final hidden states of the source model.
        ridge: strength, as a multiple of the mean square of a hidden state's entries.
        max_spread: standard deviation of h.u that still serves as a bias.
        logit_scale: what the model multiplies the head's output with.

    Raises:
        TooFewStatesError: there are fewer than two states a dimension.
        NoConstantDirectionError: the product varies too much to serve as a bias.
    """
    if len(hidden_ND) < 2 * hidden_ND.shape[1]:
        raise TooFewStatesError(
            f"the corpus gave {len(hidden_ND)} hidden states of width {hidden_ND.shape[1]}, fewer "
            "than two a dimension; give more text, or raise direction_positions."
        )
    hidden_ND64 = hidden_ND.astype(np.float64)
    n = len(hidden_ND64)
    gram_DD = hidden_ND64.T @ hidden_ND64 / n
    gram_DD.flat[:: len(gram_DD) + 1] += ridge * np.trace(gram_DD) / len(gram_DD)
    direction_D = solve(gram_DD, hidden_ND64.mean(axis=0), assume_a="pos")
    product_N = hidden_ND64 @ direction_D
    mean = float(product_N.mean())
    spread = float(product_N.std() / mean)
    if spread > max_spread:
        raise NoConstantDirectionError(
            f"over {n} hidden states the best constant direction gives 1 +- {spread:.3f}, off by "
            f"more than {max_spread}: the model has no head bias and none can be built; use "
            "initialiser method mean_of_pieces, or raise max_direction_spread and lose some."
        )
    return ConstantDirection(direction_D / (mean * logit_scale), spread)
