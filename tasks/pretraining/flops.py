"""What training costs in floating-point operations, and budgets that cost the same.

Counted are matrix products of layers and head; attention scores, norms and the optimizer are left
out, a few percent at short sequences (Kaplan et al. 2020, arXiv 2001.08361, section 2.1).
"""

from collections.abc import Sequence

from tasks.pretraining.config import Budget, Phase, PretrainingConfig
from tasks.shared.model_shape import ModelShape


def flops_per_token(shape: ModelShape, n_rows: int, phase: Phase) -> int:
    """Operations of training on one token.

    A forward pass takes two a weight. So does the way back to the activations, and once more the
    gradient of each weight that learns.

    Args:
        shape: of the model.
        n_rows: of its head.
        phase: says which weights learn.
    """
    head = shape.hidden * n_rows
    body = shape.layer_parameters
    return 6 * head + (6 if phase.trainable == "all" else 4) * body


def equal_flops(
    training: PretrainingConfig,
    tokens_by_phase: Sequence[int],
    shape: ModelShape,
    n_rows: int,
    control_rows: int,
) -> PretrainingConfig:
    """The same training of the same body under another vocabulary, for as many operations.

    Args:
        training: of a model with ``n_rows`` rows.
        tokens_by_phase: that it was fed.
        shape: of the body that both share.
        n_rows: tokens of the one vocabulary.
        control_rows: tokens of the other, whose budgets are wanted.

    Returns:
        ``training`` with budgets in tokens, rounded to whole steps and at least one step.
    """
    phases = list[Phase]()
    for phase, n_tokens in zip(training.phases, tokens_by_phase, strict=True):
        costs = (flops_per_token(shape, rows, phase) for rows in (n_rows, control_rows))
        ours, theirs = costs
        n_steps = max(1, round(n_tokens * ours / theirs / training.global_batch_tokens))
        budget = Budget(unit="tokens", amount=n_steps * training.global_batch_tokens)
        phases.append(phase.model_copy(update={"budget": budget}))
    return training.model_copy(update={"phases": tuple(phases)})
