"""The loop on one process: accumulation, frozen groups, metrics, divergence."""

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from tasks.pretraining.config import Budget, EmbeddingsPhase, FullPhase, PretrainingConfig
from tasks.pretraining.errors import DivergedError
from tasks.pretraining.loop import Hooks, Replica, StepMetrics, train_phase
from tasks.pretraining.loss import CausalLoss
from tasks.pretraining.optimizer import make_optimizer, roles_of_parameters, trained_names
from tasks.pretraining.packing import Documents, PackedCorpus
from tasks.pretraining.plan import plan_phases
from tasks.shared.model_loading import load_causal_lm


@pytest.fixture
def model(tiny_untied_model_folder: Path) -> PreTrainedModel:
    return load_causal_lm(tiny_untied_model_folder, torch.float32)


@pytest.fixture
def corpus() -> PackedCorpus:
    """The same twenty tokens again and again: easy to learn."""
    ids = np.tile(np.arange(10, 30, dtype=np.uint32), 60)
    starts = np.arange(61, dtype=np.int64) * 20
    documents = Documents(ids, starts, np.full(len(ids), 2, np.int64))
    return PackedCorpus(documents, sequence_length=16, separator=0, seed=0, isolate_documents=True)


def run(
    model: PreTrainedModel,
    corpus: PackedCorpus,
    phase: EmbeddingsPhase | FullPhase,
    *,
    micro_samples: int = 4,
    **fields,
) -> tuple[list[StepMetrics], list[int]]:
    config = PretrainingConfig(
        phases=(phase,), sequence_length=16, global_batch_tokens=64, compute_dtype="float32",
        **fields,
    )  # fmt: skip
    (plan,) = plan_phases(config, corpus)
    roles = roles_of_parameters(model)
    parameters = dict(model.named_parameters())
    trained = set(trained_names(roles, plan))
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in trained)
    metrics: list[StepMetrics] = []
    saved: list[int] = []
    train_phase(
        CausalLoss(model),
        make_optimizer(parameters, roles, plan, config),
        corpus, plan, config,
        Replica(0, 1, torch.device("cpu"), micro_samples, torch.float32),
        Hooks(on_step=lambda row, _seconds: metrics.append(row), save=saved.append),
        first_step=0,
    )  # fmt: skip
    return metrics, saved


def full(steps: int, **fields) -> FullPhase:
    return FullPhase(budget=Budget(unit="tokens", amount=64 * steps), warmup=2, **fields)


def test_it_learns_and_counts_exactly(model, corpus):
    rates = {"lr_input_rows": 1e-2, "lr_head": 1e-2, "lr_body": 1e-2}
    metrics, saved = run(model, corpus, full(12, **rates), checkpoint_every_steps=5)
    assert saved == [5, 10]
    assert [row.step for row in metrics] == list(range(1, 13))
    assert metrics[-1].tokens == 12 * 64
    # 768 positions score places 1 to 768 of the stream, of which 36 are separators.
    assert metrics[-1].bytes == 2 * (768 - 36)
    assert metrics[-1].loss < 0.7 * metrics[0].loss
    assert metrics[0].bits_per_byte == pytest.approx(metrics[0].loss / math.log(2) / 2)


def test_small_micro_batches_take_the_same_step(model, corpus):
    other = copy.deepcopy(model)
    whole, _ = run(model, corpus, full(3))
    parts, _ = run(other, corpus, full(3), micro_samples=1)
    for one, many in zip(whole, parts, strict=True):
        assert many.loss == pytest.approx(one.loss, rel=1e-5)
        assert many.grad_norm == pytest.approx(one.grad_norm, rel=1e-4)
    for one, many in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, many, rtol=1e-3, atol=1e-5)


def test_the_first_step_is_that_of_plain_torch(model, corpus):
    other = copy.deepcopy(model)
    metrics, _ = run(model, corpus, full(1), weight_decay=0.0)
    batch = corpus.batch(0, 4)
    ids, targets, positions = (
        torch.from_numpy(a) for a in (batch.input_ids, batch.targets, batch.position_ids)
    )
    other.requires_grad_(True)
    loss = other(
        input_ids=ids, position_ids=positions, labels=targets, shift_labels=targets, use_cache=False
    ).loss
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(other.parameters(), 1.0)
    assert metrics[0].loss == pytest.approx(loss.item(), rel=1e-5)
    assert metrics[0].grad_norm == pytest.approx(norm.item(), rel=1e-4)


def test_only_rows_move_in_a_phase_of_embeddings(model, corpus):
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    phase = EmbeddingsPhase(budget=Budget(unit="tokens", amount=128))
    metrics, _ = run(model, corpus, phase)
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {"model.embed_tokens.weight", "lm_head.weight"}
    assert metrics[0].lr_body is None


def test_a_rate_of_zero_freezes_the_group(model, corpus):
    before = model.get_output_embeddings().weight.detach().clone()
    run(model, corpus, full(2, lr_head=0.0))
    assert torch.equal(model.get_output_embeddings().weight, before)


def test_a_tied_head_learns_with_the_input_rows(tiny_model_folder, corpus):
    tied = load_causal_lm(tiny_model_folder, torch.float32)
    metrics, _ = run(tied, corpus, full(1))
    assert metrics[0].lr_input_rows == 5e-4  # half of 1e-3: the first of two warm-up steps
    assert metrics[0].lr_head is None


def test_a_loss_that_is_no_number_stops_before_the_weights_do_harm(model, corpus):
    with torch.no_grad():
        model.get_input_embeddings().weight[12] = math.nan
    body = model.model.layers[0].mlp.up_proj.weight.detach().clone()
    with pytest.raises(DivergedError, match=r"Step 1 gave a loss of nan"):
        run(model, corpus, full(1))
    assert torch.equal(model.model.layers[0].mlp.up_proj.weight, body)
