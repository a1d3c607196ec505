"""Which device this process computes on: what the settings ask for, never something else."""

from typing import TYPE_CHECKING

from infra.errors import InfraError
from infra.settings import get_settings

if TYPE_CHECKING:
    import torch


class DeviceMissingError(InfraError, RuntimeError):
    """The settings ask for a GPU that is not there."""


def torch_device() -> str:
    """``cuda`` or ``cpu``; ``auto`` takes a GPU where there is one.

    Raises:
        DeviceMissingError: ``TOKGRAFT_DEVICE=cuda`` on a machine without.
    """
    import torch

    asked, there = get_settings().device, torch.cuda.is_available()
    if asked == "cuda" and not there:
        raise DeviceMissingError(
            "TOKGRAFT_DEVICE=cuda, but torch sees no GPU here; install a CUDA build of torch and "
            "its driver, or set TOKGRAFT_DEVICE=auto."
        )
    return "cuda" if there and asked != "cpu" else "cpu"


def multiplies(dtype: "torch.dtype", device: str) -> bool:
    """Whether the hardware multiplies matrices of this dtype at full speed.

    A CPU without such units takes bfloat16 too, several times slower than float32 (8 times with
    AVX2, measured).
    """
    import torch

    if dtype == torch.float32:
        return True
    if torch.device(device).type == "cuda":
        return dtype == torch.float16 or torch.cuda.is_bf16_supported(including_emulation=False)
    support = {
        torch.bfloat16: "_is_mkldnn_bf16_supported",
        torch.float16: "_is_mkldnn_fp16_supported",
    }
    return bool(getattr(torch.ops.mkldnn, support[dtype])())


def workers_on_gpu(asked: str, n_gpus: float, n_workers: int, *, may_grow: bool) -> bool:
    """Whether training workers get a GPU each.

    Args:
        asked: ``auto``, ``cpu`` or ``cuda``.
        n_gpus: what the cluster has now.
        n_workers: how many workers there are.
        may_grow: whether a cluster may start more machines when asked.

    Raises:
        DeviceMissingError: there are GPUs or one is asked for, but not one for each worker.
    """
    if asked == "cpu" or (asked == "auto" and n_gpus == 0):
        return False
    if n_gpus < n_workers and not (asked == "cuda" and may_grow):
        raise DeviceMissingError(
            f"TOKGRAFT_WORLD_SIZE={n_workers} workers need a GPU each and there are {n_gpus:g}; "
            "take fewer workers, or set TOKGRAFT_DEVICE=cpu."
        )
    return True
