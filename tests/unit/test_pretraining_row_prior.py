"""The pull of new rows towards where they started."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tasks.pretraining.config import Budget, FullPhase, PretrainingConfig, PriorRegulariser
from tasks.pretraining.errors import NoRowsToPullError
from tasks.pretraining.loop import Hooks, Replica, StepMetrics, train_phase
from tasks.pretraining.loss import CausalLoss
from tasks.pretraining.optimizer import make_optimizer, roles_of_parameters
from tasks.pretraining.packing import Documents, PackedCorpus
from tasks.pretraining.plan import plan_phases
from tasks.pretraining.row_prior import PulledRows, RowPrior, pulled_ids
from tasks.shared.model_loading import load_causal_lm

PULLED = torch.tensor([12, 15, 29])


def parameter(rows: list[list[float]], grad: list[list[float]] | None) -> nn.Parameter:
    made = nn.Parameter(torch.tensor(rows, dtype=torch.float32))
    made.grad = None if grad is None else torch.tensor(grad, dtype=torch.float32)
    return made


def test_penalty_and_gradient_by_hand():
    # Three pulled rows, at distances 5, 0 and 1 from their starts: mean square 26 / 3.
    table = parameter([[3, 4], [9, 9], [1, 1]], [[1, 1], [1, 1], [1, 1]])
    head = parameter([[0, 0], [2, 1]], None)
    ids = torch.tensor([0, 2])
    prior = RowPrior(
        0.3,
        [
            PulledRows(table, ids, torch.tensor([[0.0, 0.0], [1.0, 1.0]])),
            PulledRows(head, torch.tensor([1]), torch.tensor([[2.0, 0.0]])),
        ],
    )
    assert prior.add_gradient() == pytest.approx(0.3 * 26 / 3)
    # 2 * 0.3 / 3 = 0.2 times the way from the start, on top of the loss's own gradient.
    assert table.grad is not None
    torch.testing.assert_close(table.grad, torch.tensor([[1.6, 1.8], [1.0, 1.0], [1.0, 1.0]]))
    assert head.grad is None, "a frozen head stays frozen"


def test_gradient_is_that_of_autograd():
    draw = torch.Generator().manual_seed(0)
    table, start = (torch.randn(6, 4, generator=draw) for _ in range(2))
    ids = torch.tensor([5, 1, 2])
    by_hand, by_torch = nn.Parameter(table.clone()), nn.Parameter(table.clone())
    by_hand.grad = torch.zeros_like(table)
    penalty = RowPrior(0.7, [PulledRows(by_hand, ids, start[ids])]).add_gradient()
    loss = 0.7 * (by_torch[ids] - start[ids]).square().sum(dim=1).mean()
    loss.backward()
    assert penalty == pytest.approx(loss.item(), rel=1e-6)
    torch.testing.assert_close(by_hand.grad, by_torch.grad)


def test_new_rows_and_tool_rows_by_their_lineage():
    methods = ["special_text", "copied", "composed", "tool_text", "fallback", "special_role"]
    assert pulled_ids(range(6), methods, "new").tolist() == [2, 3, 4]
    assert pulled_ids(range(6), methods, "tools").tolist() == [3]
    with pytest.raises(NoRowsToPullError, match=r"pulls tools rows, and none of 3 .*rows: new"):
        pulled_ids(range(3), methods[:3], "tools")


def test_a_prior_of_no_strength_is_refused():
    with pytest.raises(ValueError, match="greater than 0"):
        PriorRegulariser(strength=0.0)


def train(folder: Path, strength: float | None) -> tuple[dict[str, torch.Tensor], list]:
    """Ten steps on twenty tokens; the weights after them and every step's metrics."""
    ids = np.tile(np.arange(10, 30, dtype=np.uint32), 60)
    documents = Documents(ids, np.arange(61, dtype=np.int64) * 20, np.full(len(ids), 2, np.int64))
    corpus = PackedCorpus(
        documents, sequence_length=16, separator=0, seed=0, isolate_documents=True
    )
    phase = FullPhase(budget=Budget(unit="tokens", amount=640), warmup=2, lr_input_rows=1e-2)
    config = PretrainingConfig(phases=(phase,), sequence_length=16, global_batch_tokens=64)
    (plan,) = plan_phases(config, corpus)
    model = load_causal_lm(folder, torch.float32)
    roles, parameters = roles_of_parameters(model), dict(model.named_parameters())
    prior = None
    if strength is not None:
        tables = [p for name, p in parameters.items() if roles[name] != "body"]
        pulled = [PulledRows(p, PULLED, p.detach()[PULLED].clone()) for p in tables]
        prior = RowPrior(strength, pulled)
    metrics: list[StepMetrics] = []
    train_phase(
        CausalLoss(model), make_optimizer(parameters, roles, plan, config), corpus, plan, config,
        Replica(0, 1, torch.device("cpu"), 4, torch.float32),
        Hooks(on_step=lambda row, _seconds: metrics.append(row), save=lambda step: None),
        first_step=0, prior=prior,
    )  # fmt: skip
    return {name: p.detach() for name, p in parameters.items()}, metrics


@pytest.mark.parametrize("tied", [True, False])
def test_the_stronger_the_prior_the_nearer_rows_stay(
    tied: bool, tiny_model_folder: Path, tiny_untied_model_folder: Path
):
    folder = tiny_model_folder if tied else tiny_untied_model_folder
    before = dict(load_causal_lm(folder, torch.float32).named_parameters())
    names = ["model.embed_tokens.weight", *([] if tied else ["lm_head.weight"])]
    away: list[float] = []
    for strength in (None, 1e2, 1e5):
        after, metrics = train(folder, strength)
        moved = [(after[name] - before[name].detach()).norm(dim=1) for name in names]
        away.append(float(torch.stack([m[PULLED].mean() for m in moved]).mean()))
        assert all((row.prior_penalty is None) is (strength is None) for row in metrics)
    assert away[2] < away[1] < away[0]
    assert metrics[0].prior_penalty == 0
    assert metrics[-1].prior_penalty is not None
    assert metrics[-1].prior_penalty > 0
