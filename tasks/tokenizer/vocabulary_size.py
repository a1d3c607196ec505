"""Which size of vocabulary a model would be cheapest with.

A larger vocabulary makes a text shorter and each of its tokens dearer, for the head grows. Source
of the two criteria: Dagan et al. 2024, arXiv 2402.01035; the sum of tokens and types is the
objective of Less-is-Better, arXiv 2403.00417. Quality is no part of it.

With L the weights of all layers, D the model's width and v the size:

- FLOPs a byte = 2 (L + v D) / bytes per token: a multiplication and an addition a weight and token,
  the head included, attention's own products over the context left out.
- parameters = L + v D, or L + 2 v D where head and embedding are two matrices.
- cache a byte = 2 layers * key-value heads * head size * bytes per value / bytes per token.

Dimension: S = sizes.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Float64, Int64

from tasks.shared.errors import InputError
from tasks.shared.model_shape import ModelShape


class SizesError(InputError):
    """Sizes and tokens do not fit together, or leave nothing to choose from."""


@dataclass(frozen=True)
class SizeChoice:
    """What each size costs, which is the cheapest, and why.

    Attributes:
        table: one row a size: vocabulary_size, n_tokens, nsl, bytes_per_token, n_parameters,
            flops_per_byte, cache_bytes_per_byte, memory_bytes, tokens_plus_types.
        recommended: the size of fewest FLOPs a byte.
        memory_optimal: the size of the least memory for weights and cache.
        reason: both in words, with their distance to the sizes beside them.
    """

    table: pa.Table
    recommended: int
    memory_optimal: int
    reason: str


def choose_size(
    sizes: Int64[np.ndarray, " S"],
    n_tokens: Int64[np.ndarray, " S"],
    n_source_tokens: int,
    n_bytes: int,
    shape: ModelShape,
    context_bytes: int,
    bytes_per_value: int,
) -> SizeChoice:
    """Reckon the cost of every size and name the cheapest.

    Args:
        sizes: all tokens of each vocabulary, ascending.
        n_tokens: how many the same text has under each.
        n_source_tokens: how many it has under the model's own tokenizer.
        n_bytes: its UTF-8 bytes.
        shape: the model's.
        context_bytes: text that the cache holds where memory is compared.
        bytes_per_value: of a weight, and of a number in the cache.

    Raises:
        SizesError: there are no sizes, they do not ascend, or there is no text.
    """
    _check(sizes, n_tokens, n_source_tokens, n_bytes)
    head = sizes * shape.hidden
    parameters = shape.layer_parameters + head * (1 if shape.tied else 2)
    tokens_a_byte = n_tokens / n_bytes
    flops = 2.0 * (shape.layer_parameters + head) * tokens_a_byte
    cache = shape.cached_values * bytes_per_value * tokens_a_byte
    memory = parameters * bytes_per_value + cache * context_bytes
    table = pa.table(
        {
            "vocabulary_size": sizes,
            "n_tokens": n_tokens,
            "nsl": n_tokens / n_source_tokens,
            "bytes_per_token": n_bytes / n_tokens,
            "n_parameters": parameters,
            "flops_per_byte": flops,
            "cache_bytes_per_byte": cache,
            "memory_bytes": memory,
            "tokens_plus_types": n_tokens + sizes,
        }
    )
    reason = (
        f"{_least('FLOPs a byte of text', flops, sizes, 1e6, 'million')} "
        f"{_least(f'memory with {context_bytes:,} bytes of text', memory, sizes, 1e6, 'MB')}"
    )
    best, least = int(sizes[np.argmin(flops)]), int(sizes[np.argmin(memory)])
    return SizeChoice(table, best, least, reason)


def _least(
    what: str,
    costs: Float64[np.ndarray, " S"],
    sizes: Int64[np.ndarray, " S"],
    scale: float,
    unit: str,
) -> str:
    """Say which size costs least, and how much more the ones beside it."""
    at = int(np.argmin(costs))
    said = f"A vocabulary of {sizes[at]:,} needs the least {what}, {costs[at] / scale:,.1f} {unit}"
    beside = [i for i in (at - 1, at + 1) if 0 <= i < len(sizes)]
    more = [f"{sizes[i]:,} needs {costs[i] / costs[at] - 1:.1%} more" for i in beside]
    if more:
        said += f"; {' and '.join(more)}"
    if 0 < at < len(sizes) - 1:
        return said + "."
    end, beyond = ("smallest", "smaller") if at == 0 else ("largest", "larger")
    return f"{said}. It is the {end} size tried, so a {beyond} one may need less still."


def _check(
    sizes: Int64[np.ndarray, " S"],
    n_tokens: Int64[np.ndarray, " S"],
    n_source_tokens: int,
    n_bytes: int,
) -> None:
    if not len(sizes) or sizes[0] < 1 or np.any(np.diff(sizes) <= 0):
        raise SizesError(
            f"The sizes {sizes.tolist()[:20]} must ascend from at least 1, and be at least one; "
            "sort them and name each once."
        )
    if n_bytes < 1 or n_source_tokens < 1 or n_tokens.min() < 1:
        raise SizesError(
            f"A text of {n_bytes} bytes with {n_source_tokens} tokens of the source and "
            f"{n_tokens.min()} under some size tells nothing; give text that all of them can cut."
        )
