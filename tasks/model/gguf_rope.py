"""Stretched positions of a GGUF model.

llama.cpp stores Llama 3.1's scaling not as metadata but as a tensor of divisors, one a rotary
frequency, which transformers drops on reading. The rule behind it is published with the model, so
the tensor is turned back into the rule, and the rule is checked against the tensor.
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from tasks.shared.gguf_file import GgufFile, UnsupportedGgufError, unpack

ROPE_FACTORS_NAME = "rope_freqs.weight"

_LOW, _HIGH, _ORIGINAL_LENGTH = 1.0, 4.0, 8192


def rope_scaling_of(gguf: GgufFile) -> dict[str, Any] | None:
    """The ``rope_scaling`` entry of the config; None where positions are not stretched.

    Raises:
        UnsupportedGgufError: they are stretched by a rule other than Llama 3.1's.
    """
    kind = gguf.metadata.get(f"{gguf.architecture}.rope.scaling.type", "none")
    if kind != "none":
        raise UnsupportedGgufError(
            f"{gguf.path} stretches its positions by {kind!r}, which GGUF import does not carry "
            "over; import its safetensors form instead."
        )
    tensors = [tensor for tensor in gguf.tensors if tensor.name == ROPE_FACTORS_NAME]
    if not tensors:
        return None
    divisors = unpack(tensors[0])
    theta = float(gguf.metadata.get(f"{gguf.architecture}.rope.freq_base", 10_000.0))
    factor = round(float(divisors.max()), 3)
    if not np.allclose(llama3_divisors(theta, len(divisors), factor), divisors, rtol=1e-3):
        raise UnsupportedGgufError(
            f"{gguf.path} stretches its positions by {ROPE_FACTORS_NAME}, which does not follow "
            "Llama 3.1's rule; import its safetensors form instead."
        )
    return {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": _LOW,
        "high_freq_factor": _HIGH,
        "original_max_position_embeddings": _ORIGINAL_LENGTH,
    }


def llama3_divisors(theta: float, n_frequencies: int, factor: float) -> Float[np.ndarray, " F"]:
    """What Llama 3.1 divides each rotary frequency by.

    Wavelengths that fit the original length ``high`` times are left alone, those that do not fit
    it once are divided by ``factor``, and between the two the inverse is interpolated.
    """
    frequencies = theta ** -(np.arange(n_frequencies) / n_frequencies)
    turns = _ORIGINAL_LENGTH * frequencies / (2 * math.pi)
    share = np.clip((turns - _LOW) / (_HIGH - _LOW), 0.0, 1.0)
    return 1.0 / ((1.0 - share) / factor + share)
