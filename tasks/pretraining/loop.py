"""The training loop: steps of one phase. It knows no cluster, no store and no scheduler."""

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from tasks.pretraining.config import PretrainingConfig
from tasks.pretraining.errors import DivergedError
from tasks.pretraining.optimizer import set_rates
from tasks.pretraining.packing import PackedCorpus
from tasks.pretraining.plan import PhasePlan, micro_batches, samples_of
from tasks.pretraining.row_prior import RowPrior


@dataclass(frozen=True)
class Replica:
    """This worker among its peers, and what fits into its memory."""

    rank: int
    world_size: int
    device: torch.device
    micro_samples: int
    compute_dtype: torch.dtype
    """Of matrix products."""


@dataclass(frozen=True)
class StepMetrics:
    """One optimizer step; ``tokens`` and ``bytes`` count from the start of the run.

    ``loss`` is that of the text alone. ``prior_penalty`` comes on top of it, None without a prior.
    """

    step: int
    phase: int
    tokens: int
    bytes: int
    loss: float
    bits_per_byte: float
    lr_input_rows: float | None
    lr_head: float | None
    lr_body: float | None
    grad_norm: float
    prior_penalty: float | None


@dataclass(frozen=True)
class Hooks:
    """What the caller hears: every step with its wall-clock seconds, and when to save."""

    on_step: Callable[[StepMetrics, float], None]
    save: Callable[[int], None]
    """Called with the number of finished steps."""


def train_phase(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    corpus: PackedCorpus,
    plan: PhasePlan,
    config: PretrainingConfig,
    replica: Replica,
    hooks: Hooks,
    *,
    first_step: int,
    prior: RowPrior | None = None,
) -> None:
    """Train from ``first_step`` to the end of the phase.

    Args:
        module: ``CausalLoss``, bare or wrapped by DDP or FSDP2.
        optimizer: over the phase's parameters, in the state that ``first_step`` left.
        corpus: samples by number.
        plan: the phase.
        config: batch, clipping and how often to save.
        replica: this worker.
        hooks: what to call.
        first_step: number of steps of the run that are done.
        prior: pulls some rows towards where they started.

    Raises:
        DivergedError: loss or gradient norm is not finite; weights are then as before the step.
    """
    per_step = config.global_batch_tokens // config.sequence_length
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for step in range(first_step, plan.end_step):
        began = time.perf_counter()
        rates = set_rates(optimizer, plan, step)
        nats = _accumulate(module, corpus, config, replica, step, per_step)
        penalty = None if prior is None else prior.add_gradient()
        norm = _clip(parameters, config.clip_norm)
        _check_finite(step, nats, norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        n_targets = corpus.n_targets(step * per_step, per_step)
        n_bytes = corpus.n_bytes(step * per_step, per_step)
        metrics = StepMetrics(
            step=step + 1,
            phase=plan.number + 1,
            tokens=(step + 1) * config.global_batch_tokens,
            bytes=corpus.n_bytes(0, (step + 1) * per_step),
            loss=nats / n_targets,
            bits_per_byte=nats / math.log(2) / n_bytes if n_bytes else math.nan,
            lr_input_rows=rates.get("input_rows"),
            lr_head=rates.get("head"),
            lr_body=rates.get("body"),
            grad_norm=norm,
            prior_penalty=penalty,
        )
        hooks.on_step(metrics, time.perf_counter() - began)
        if (step + 1) % config.checkpoint_every_steps == 0 and step + 1 < plan.end_step:
            hooks.save(step + 1)


def _accumulate(
    module: nn.Module,
    corpus: PackedCorpus,
    config: PretrainingConfig,
    replica: Replica,
    step: int,
    per_step: int,
) -> float:
    """Gradients of the step's mean nats per target; returns the sum of nats of all workers."""
    first, count = samples_of(step, per_step, replica.rank, replica.world_size)
    # DDP and FSDP2 average over workers, so each worker's part is scaled up by their number.
    scale = replica.world_size / corpus.n_targets(step * per_step, per_step)
    parts = micro_batches(first, count, replica.micro_samples)
    total = torch.zeros((), device=replica.device)
    for number, (at, size) in enumerate(parts):
        batch = corpus.batch(at, size)
        arrays = (batch.input_ids, batch.targets, batch.position_ids)
        tensors = [torch.from_numpy(array).to(replica.device) for array in arrays]
        with _synchronised(module, last=number == len(parts) - 1):
            with _autocast(replica):
                nats, _ = module(*tensors)
            (nats * scale).backward()
        total += nats.detach()
    if replica.world_size > 1:
        dist.all_reduce(total)
    return total.item()


def _autocast(replica: Replica) -> torch.autocast:
    return torch.autocast(
        replica.device.type, dtype=torch.bfloat16, enabled=replica.compute_dtype == torch.bfloat16
    )


def _synchronised(module: nn.Module, *, last: bool) -> contextlib.AbstractContextManager[None]:
    """Exchange gradients between workers in a step's last part alone."""
    if hasattr(module, "set_requires_gradient_sync"):
        module.set_requires_gradient_sync(last)  # pyright: ignore[reportCallIssue]
    elif not last and hasattr(module, "no_sync"):
        return module.no_sync()  # pyright: ignore[reportCallIssue, reportReturnType]
    return contextlib.nullcontext()


def _clip(parameters: list[nn.Parameter], clip_norm: float) -> float:
    norm: Tensor = nn.utils.clip_grad_norm_(parameters, clip_norm)
    if isinstance(norm, DTensor):
        norm = norm.full_tensor()
    return norm.item()


def _check_finite(step: int, nats: float, norm: float) -> None:
    if not (math.isfinite(nats) and math.isfinite(norm)):
        raise DivergedError(
            f"Step {step + 1} gave a loss of {nats:g} nats and a gradient norm of {norm:g}; "
            "lower the learning rates, lengthen the warm-up, or check the initial model."
        )
