"""The same bits from the same input."""

import os

import torch

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


def compute_deterministically() -> None:
    """Let torch choose deterministic kernels alone, in this process from here on."""
    asked = os.environ.get(_WORKSPACE)
    # Without it deterministic mode refuses every product of cuBLAS.
    os.environ[_WORKSPACE] = asked or ":4096:8"
    torch.use_deterministic_algorithms(True)
    # Deterministic mode would also write over every new tensor, to show reads of garbage.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if asked is None and torch.cuda.is_available():
        _settle_workspace()


def _settle_workspace() -> None:
    """Let torch check the variable once and forget it.

    It is checked at a process's first product and parsed by a regular expression at every one: a
    quarter of a small model's step on an H100. What makes products repeatable is that cuBLAS gets
    its workspace from torch, which it does either way.
    """
    one = torch.ones((1, 1), device="cuda")
    _ = one @ one
    del os.environ[_WORKSPACE]
