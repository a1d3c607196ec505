"""How many weights of a decoder each token passes through, and what it leaves in the cache.

Counted are the matrices: attention, a gated feed-forward part, head and embedding. Norms and
biases are left out, some hundredths of a percent of a model.
"""

from dataclasses import dataclass

from tasks.shared.errors import InputError
from tasks.shared.vocabulary_file import Json

_MIXTURES = ("num_local_experts", "num_experts", "n_routed_experts")


class ModelShapeError(InputError):
    """A model's config does not say its sizes, or is of a model whose weights are not all used."""


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a dense decoder."""

    hidden: int
    n_layers: int
    intermediate: int
    n_heads: int
    n_kv_heads: int
    head_size: int
    tied: bool
    """Whether the head is the input embedding itself."""

    @property
    def layer_parameters(self) -> int:
        """Weights of all layers: queries and output, keys and values, three matrices of the MLP."""
        attention = 2 * self.hidden * self.head_size * (self.n_heads + self.n_kv_heads)
        return self.n_layers * (attention + 3 * self.hidden * self.intermediate)

    @property
    def cached_values(self) -> int:
        """Numbers that one token leaves in the cache: a key and a value a head and layer."""
        return 2 * self.n_layers * self.n_kv_heads * self.head_size


def model_shape(config: Json, *, tied: bool) -> ModelShape:
    """Read the sizes from a model's ``config.json``.

    Args:
        config: the parsed file.
        tied: as ``RowNames`` has it; a config may leave it out, and its default varies by class.

    Raises:
        ModelShapeError: a size is missing, or only some experts see each token.
    """
    mixtures = [name for name in _MIXTURES if (config.get(name) or 1) > 1]
    if mixtures:
        raise ModelShapeError(
            f"The model's config has {mixtures[0]}: {config[mixtures[0]]}, a mixture of experts, "
            "but costs are known of dense decoders only; choose the vocabulary's size yourself."
        )
    names = ("hidden_size", "num_hidden_layers", "intermediate_size", "num_attention_heads")
    missing = [name for name in names if not isinstance(config.get(name), int)]
    if missing:
        raise ModelShapeError(
            f"The model's config of type {config.get('model_type')!r} lacks {', '.join(missing)}, "
            "from which costs are reckoned; choose the vocabulary's size yourself."
        )
    hidden, n_layers, intermediate, n_heads = (int(config[name]) for name in names)
    return ModelShape(
        hidden=hidden,
        n_layers=n_layers,
        intermediate=intermediate,
        n_heads=n_heads,
        n_kv_heads=int(config.get("num_key_value_heads") or n_heads),
        head_size=int(config.get("head_dim") or hidden // n_heads),
        tied=tied,
    )
