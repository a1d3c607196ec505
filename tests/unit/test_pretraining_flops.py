"""Training of equal cost under another vocabulary."""

import pytest

from tasks.pretraining.config import Budget, EmbeddingsPhase, FullPhase, PretrainingConfig
from tasks.pretraining.flops import equal_flops, flops_per_token
from tasks.shared.model_shape import ModelShape

SHAPE = ModelShape(
    hidden=4, n_layers=2, intermediate=8, n_heads=2, n_kv_heads=2, head_size=2, tied=True
)
BODY = 2 * (4 * 4 * 4 + 3 * 4 * 8)
FULL = FullPhase(budget=Budget(amount=1000))
ROWS_ONLY = EmbeddingsPhase(budget=Budget(amount=1000))


def test_a_token_costs_six_operations_a_learning_weight_and_four_a_frozen_one():
    assert flops_per_token(SHAPE, 10, FULL) == 6 * (BODY + 40)
    assert flops_per_token(SHAPE, 10, ROWS_ONLY) == 4 * BODY + 6 * 40


def test_the_same_vocabulary_gets_the_same_tokens():
    training = PretrainingConfig(phases=(ROWS_ONLY, FULL), sequence_length=2, global_batch_tokens=4)
    same = equal_flops(training, [40, 80], SHAPE, 100, 100)
    assert [phase.budget for phase in same.phases] == [
        Budget(unit="tokens", amount=40),
        Budget(unit="tokens", amount=80),
    ]


@pytest.mark.parametrize(("n_rows", "control_rows"), [(500, 100), (100, 500)])
def test_a_smaller_vocabulary_reads_more_tokens_for_the_same_operations(
    n_rows: int, control_rows: int
):
    training = PretrainingConfig(phases=(FULL,), sequence_length=2, global_batch_tokens=4)
    [phase] = equal_flops(training, [100_000], SHAPE, n_rows, control_rows).phases
    spent = phase.budget.amount * flops_per_token(SHAPE, control_rows, FULL)
    assert spent == pytest.approx(100_000 * flops_per_token(SHAPE, n_rows, FULL), rel=1e-4)
    assert (phase.budget.amount > 100_000) == (n_rows > control_rows)
