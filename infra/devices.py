"""Which device this process computes on: what the settings ask for, never something else."""

from infra.errors import InfraError
from infra.settings import get_settings


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
