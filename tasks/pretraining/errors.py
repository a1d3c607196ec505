"""What can be wrong with a training run, one class per thing a caller may catch."""

from tasks.shared.errors import InputError


class BudgetError(InputError):
    """The phases ask for more text than the corpus gives in the epochs allowed."""


class BatchSizeError(InputError):
    """The global batch cannot be divided evenly among the workers."""


class SequenceLengthError(InputError):
    """Sequences are longer than the model's context."""


class UnsupportedHeadError(InputError):
    """The model's logits are not its head applied to its last hidden state."""


class DivergedError(InputError):
    """The loss or the gradient is no longer a number."""


class TokensMismatchError(InputError):
    """Token shards and model do not belong together."""


class NoRowsToPullError(InputError):
    """A prior is asked for and no row has one."""
