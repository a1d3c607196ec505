"""Budgets become steps, steps become learning rates and samples."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from transformers import get_scheduler

from tasks.pretraining.config import Budget, EmbeddingsPhase, FullPhase, PretrainingConfig
from tasks.pretraining.errors import BatchSizeError, BudgetError
from tasks.pretraining.packing import Documents, PackedCorpus
from tasks.pretraining.plan import lr_factor, micro_batches, plan_phases, samples_of


def corpus_of(n_documents: int, bytes_a_token: int = 3) -> PackedCorpus:
    """Documents of 9 tokens, so 10 tokens of the stream each."""
    starts = np.arange(n_documents + 1, dtype=np.int64) * 9
    ids = np.ones(9 * n_documents, np.uint32)
    documents = Documents(ids, starts, np.full(9 * n_documents, bytes_a_token, np.int64))
    return PackedCorpus(documents, sequence_length=5, separator=0, seed=0, isolate_documents=True)


def config_of(*phases: EmbeddingsPhase | FullPhase, **fields) -> PretrainingConfig:
    return PretrainingConfig(phases=phases, sequence_length=5, global_batch_tokens=10, **fields)


def test_budgets_by_hand():
    # A step of 10 tokens scores 9 of them (27 bytes): 100 tokens are 10 steps, 100 bytes are 4.
    plans = plan_phases(
        config_of(
            EmbeddingsPhase(budget=Budget(unit="tokens", amount=91)),
            FullPhase(budget=Budget(unit="bytes", amount=100)),
        ),
        corpus_of(40),
    )
    assert [(p.first_step, p.end_step) for p in plans] == [(0, 10), (10, 14)]
    assert [p.lr_body for p in plans] == [0.0, 1e-4]


def test_a_byte_budget_reads_as_much_text_under_a_longer_cut():
    def bytes_read(bytes_a_token: int) -> int:
        corpus = corpus_of(400, bytes_a_token)
        config = config_of(FullPhase(budget=Budget(unit="bytes", amount=2000)))
        (plan,) = plan_phases(config, corpus)
        return corpus.n_bytes(0, plan.end_step * 2)

    assert 2000 <= bytes_read(3) < 2000 + 27
    assert 2000 <= bytes_read(5) < 2000 + 45


def test_a_budget_beyond_the_corpus_is_refused_and_more_epochs_allow_it():
    phase = FullPhase(budget=Budget(unit="tokens", amount=150))
    with pytest.raises(BudgetError, match=r"max_epochs=1 .* 9 steps \(\d+ bytes, 90 tokens\)"):
        plan_phases(config_of(phase), corpus_of(10))
    (plan,) = plan_phases(config_of(phase, max_epochs=2), corpus_of(10))
    assert plan.end_step == 15


def test_a_byte_budget_beyond_the_corpus_is_refused():
    phase = FullPhase(budget=Budget(unit="bytes", amount=10_000))
    with pytest.raises(BudgetError, match="Phase 1"):
        plan_phases(config_of(phase), corpus_of(10))


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_rates_follow_transformers_moved_by_one_step(schedule: str):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    oracle = get_scheduler(schedule, optimizer, num_warmup_steps=4, num_training_steps=31)
    for step in range(30):
        optimizer.step()
        oracle.step()
        expected = oracle.get_last_lr()[0]
        assert lr_factor(step, 30, 4, schedule) == pytest.approx(expected, abs=1e-12)


def test_no_step_is_lost_to_a_rate_of_zero():
    factors = [lr_factor(step, 3, 2, "cosine") for step in range(3)]
    assert factors[0] == 0.5
    assert factors[1] == 1.0
    assert 0 < factors[2] < 1


def test_a_fraction_of_the_phase_is_a_warm_up_too():
    phase = FullPhase(budget=Budget(unit="tokens", amount=100), warmup=0.5, schedule="constant")
    (plan,) = plan_phases(config_of(phase), corpus_of(40))
    np.testing.assert_allclose([plan.lr_factor(s) for s in range(6)], [0.2, 0.4, 0.6, 0.8, 1, 1])


def test_workers_share_a_step_in_order():
    assert [samples_of(3, 8, rank, 2) for rank in range(2)] == [(24, 4), (28, 4)]
    assert micro_batches(24, 5, 2) == [(24, 2), (26, 2), (28, 1)]


def test_a_batch_that_does_not_divide_is_refused():
    with pytest.raises(BatchSizeError, match=r"8 sequences .* 3 workers"):
        samples_of(0, 8, 0, 3)
    with pytest.raises(ValidationError, match="not a whole number of sequences"):
        PretrainingConfig(sequence_length=256, global_batch_tokens=1000)


def test_a_rate_of_the_body_cannot_be_given_where_it_is_frozen():
    with pytest.raises(ValidationError, match="lr_body"):
        EmbeddingsPhase.model_validate({"budget": {"amount": 1}, "lr_body": 1e-4})


def test_a_warm_up_longer_than_its_phase_is_refused_as_a_fraction():
    with pytest.raises(ValueError, match="neither a whole number of steps nor a fraction"):
        FullPhase(budget=Budget(unit="tokens", amount=1), warmup=1.5)
    assert FullPhase(budget=Budget(unit="tokens", amount=1), warmup=2).warmup == 2
