"""The same bits from the same input."""

import os

import torch

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


def compute_deterministically(device: str) -> None:
    """Let torch choose deterministic kernels alone, in this process from here on.

    Args:
        device: where this process computes; if it is a GPU, the current one.
    """
    torch.use_deterministic_algorithms(True)
    # Deterministic mode would also write over every new tensor, to show reads of garbage.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if torch.device(device).type == "cuda" and _WORKSPACE not in os.environ:
        _settle_workspace(device)


def _settle_workspace(device: str) -> None:
    """Have torch look for cuBLAS's variable once, and take it away again.

    In this mode the first product of a process fails without it, and every one parses it by a
    regular expression: a fifth of a small model's step on an H100. What makes products repeatable
    is that torch gives cuBLAS its workspace, which it does either way.
    """
    os.environ[_WORKSPACE] = ":4096:8"
    one = torch.ones((1, 1), device=device)
    _ = one @ one
    del os.environ[_WORKSPACE]
