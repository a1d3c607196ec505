"""Memory, cores, GPU, and the versions of what is installed."""

import importlib.metadata
import importlib.util
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from infra.devices import DeviceMissingError, multiplies, torch_device
from infra.doctor.finding import Finding
from infra.settings import Settings

WARN_MEMORY_BYTES = 4e9
"""The embedded server, Ray and a 135-million-parameter model in training need this (measured)."""
FAIL_MEMORY_BYTES = 1e9


def check_machine(settings: Settings) -> Iterator[Finding]:
    """Whether this machine can do the work, and on what."""
    yield _memory()
    yield _cores(settings)
    yield _device()
    yield from check_versions(importlib.metadata.distribution("tokgraft"))
    yield _vectors()


def _memory() -> Finding:
    """What may still be taken, as Linux reckons it; a container's limit counts where it is less."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        sizes = {line.partition(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        free, total = float(sizes["MemAvailable"]), float(sizes["MemTotal"])
    except (OSError, KeyError):
        return Finding("warn", "memory", "this system does not say how much is free", "look at it")
    limit = _container_limit()
    if limit is not None and limit < total:
        free, total = min(free, limit), limit
    said = f"{free / 1e9:,.1f} of {total / 1e9:,.1f} GB are free"
    if free >= WARN_MEMORY_BYTES:
        return Finding("ok", "memory", said)
    remedy = "end other programs, or take a larger machine"
    level = "warn" if free >= FAIL_MEMORY_BYTES else "fail"
    return Finding(level, "memory", said, remedy)


def _container_limit() -> float | None:
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return None
    return None if limit == "max" else float(limit)


def _cores(settings: Settings) -> Finding:
    n_cores = os.cpu_count() or 1
    said = f"{n_cores}, for {settings.world_size} training workers"
    if settings.ray_address is None and settings.world_size > n_cores:
        return Finding("warn", "cores", said, "set TOKGRAFT_WORLD_SIZE to no more than the cores")
    return Finding("ok", "cores", said)


def _device() -> Finding:
    import torch

    try:
        device = torch_device()
    except DeviceMissingError as error:
        return Finding("fail", "device", str(error))
    name = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
    dtypes = [
        str(dtype).removeprefix("torch.")
        for dtype in (torch.float32, torch.bfloat16, torch.float16)
        if multiplies(dtype, device)
    ]
    return Finding("ok", "device", f"{device} ({name}), at full speed in {', '.join(dtypes)}")


def check_versions(distribution: importlib.metadata.Distribution) -> Iterator[Finding]:
    """Whether what is installed is within the bounds that a distribution states.

    Args:
        distribution: whose requirements; those of extras are left out.
    """
    python = platform.python_version()
    asked = ",".join(distribution.metadata.get_all("Requires-Python") or [])
    if not SpecifierSet(asked).contains(python):
        yield Finding("fail", "python", f"{python}, but {asked} is needed", "install with that one")
    requirements = [Requirement(text) for text in distribution.requires or []]
    asked_here = [r for r in requirements if not r.marker or r.marker.evaluate({"extra": ""})]
    remedy = "pip install -c constraints.txt tokgraft"
    outside = False
    for requirement in asked_here:
        try:
            found = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            outside = True
            yield Finding("fail", "versions", f"{requirement.name} is not installed", remedy)
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            outside = True
            said = f"{requirement.name} is {found}, but {requirement.specifier} is needed"
            yield Finding("fail", "versions", said, remedy)
    if not outside:
        said = f"{distribution.name} {distribution.version}, and all {len(asked_here)} libraries"
        yield Finding("ok", "versions", f"{said} within its bounds, Python {python}")


def _vectors() -> Finding:
    if importlib.util.find_spec("fasttext") is not None:
        return Finding("ok", "extras", "vectors is installed: fastText can train")
    return Finding(
        "ok",
        "extras",
        "without vectors; what trains fastText (focus, tokalign, word vectors) needs "
        "pip install 'tokgraft[vectors]'",
    )
