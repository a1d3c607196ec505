"""How evenly a tokenizer spreads text over its vocabulary.

Renyi efficiency is H_alpha(p) / log2 |V| with H_alpha(p) = log2(sum p^alpha) / (1 - alpha), p the
tokens' frequencies. Source: Zouhar et al. 2023, "Tokenization and the Noiseless Channel", who find
alpha = 2.5 closest to quality in translation. |V| is the true size of the vocabulary and not the
number of tokens seen, which some tools take. It describes, and is no measure of quality.

Dimension: V = vocabulary.
"""

import numpy as np
from jaxtyping import Int64

from tasks.shared.errors import InputError


class NoTokensError(InputError):
    """There is not one token of which a frequency could be taken."""


def shannon_entropy(counts_V: Int64[np.ndarray, " V"]) -> float:
    """Give the entropy of the tokens' frequencies in bits.

    Raises:
        NoTokensError: all counts are 0.
    """
    p = _frequencies(counts_V)
    return float(-np.sum(p * np.log2(p))) + 0.0  # no minus before a zero


def renyi_entropy(counts_V: Int64[np.ndarray, " V"], alpha: float) -> float:
    """Give the Renyi entropy of the tokens' frequencies in bits; at alpha 1 it is Shannon's.

    Raises:
        NoTokensError: all counts are 0.
    """
    if alpha == 1:
        return shannon_entropy(counts_V)
    return float(np.log2(np.sum(_frequencies(counts_V) ** alpha)) / (1 - alpha)) + 0.0


def _frequencies(counts_V: Int64[np.ndarray, " V"]) -> np.ndarray:
    seen = counts_V[counts_V > 0]
    if not len(seen):
        raise NoTokensError(
            f"None of {len(counts_V)} tokens occurs, so there are no frequencies; give some text."
        )
    return seen / np.sum(seen)
