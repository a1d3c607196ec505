"""Wrap the loss for several workers: whole copies (DDP) or sharded parameters (FSDP2)."""

from typing import Literal

import torch
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from tasks.pretraining.loss import CausalLoss


def distribute(
    loss: CausalLoss, sharding: Literal["ddp", "fsdp"], world_size: int, device: torch.device
) -> nn.Module:
    """The module to train; parameters keep their names below ``loss.model``.

    Args:
        loss: with ``requires_grad`` set for the phase.
        sharding: what every worker holds.
        world_size: one worker needs no wrapping, but FSDP is honoured all the same.
        device: this worker's.
    """
    if sharding == "fsdp":
        for block in _blocks(loss):
            fully_shard(block)
        fully_shard(loss)
        return loss
    if world_size == 1:
        return loss
    return DistributedDataParallel(
        loss,
        device_ids=[device.index] if device.type == "cuda" else None,
        gradient_as_bucket_view=True,
    )


def _blocks(loss: CausalLoss) -> list[nn.Module]:
    """Transformer blocks: the members of the longest list of modules."""
    lists = [m for m in loss.model.base_model.modules() if isinstance(m, nn.ModuleList)]
    return list(max(lists, key=len, default=nn.ModuleList()))
