"""The same bits from the same input."""

import os

import torch


def compute_deterministically() -> None:
    """Let torch choose deterministic kernels alone, in this process from here on."""
    # cuBLAS reads it at its first product; without it deterministic mode refuses every one.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    # Deterministic mode would also write over every new tensor, to show reads of garbage.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
