"""What made an artifact: versions, commit, hardware."""

import os
import platform
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = (
    "tokgraft", "torch", "transformers", "tokenizers", "safetensors", "pyarrow", "numpy", "ray",
    "prefect", "numba", "gguf",
)  # fmt: skip


@lru_cache(maxsize=1)
def provenance() -> dict[str, Any]:
    """Facts of this process that never enter a key, without importing what they are about."""
    return {
        "packages": {name: v for name in _PACKAGES if (v := _version(name)) is not None},
        "python": platform.python_version(),
        "git_commit": _git_commit(),
        "hardware": {
            "machine": platform.machine(),
            "processor": _processor(),
            "gpus": _gpus(),
            "n_cores": os.cpu_count(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        },
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str | None:
    """Name of the processor as Linux gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, None)


def _gpus() -> list[str]:
    """Names of the GPUs that NVIDIA's driver shows, one an entry."""
    names = list[str]()
    for file in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        names += [line.partition(":")[2].strip() for line in lines if line.startswith("Model")]
    return names


def _git_commit() -> str | None:
    folder = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"],
            capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
