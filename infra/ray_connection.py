"""How this process comes to a Ray: a cluster that settings name, or one of its own."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.errors import InfraError
from infra.provenance import provenance
from infra.settings import Settings

_ANSWER_SECONDS = 10.0


class ClusterUnreachableError(InfraError, RuntimeError):
    """The settings name a cluster that does not answer."""


class VersionMismatchError(InfraError, RuntimeError):
    """The cluster runs another version of the code than this process."""


@contextmanager
def connected(settings: Settings) -> Generator[None]:
    """A Ray to work with: the cluster that settings name, or one of this machine's own."""
    # Ray's nag about accelerator variables is a warning on every start; the new rule is fine here.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray gives way to every other process (nice 15), but here training is what the run waits for.
    os.environ.setdefault("RAY_worker_niceness", "0")
    import ray

    if ray.is_initialized():
        yield
        return
    common: dict[str, Any] = {
        "log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True,
        "namespace": "tokgraft",
    }  # fmt: skip
    try:
        with _signal_kept():
            if settings.ray_address is None:
                cpus = max(os.cpu_count() or 1, settings.world_size + 1)
                ray.init(address="local", num_cpus=cpus, include_dashboard=False, **common)
            else:
                _join(settings.ray_address, common)
                _refuse_other_versions()
        yield
    finally:
        ray.shutdown()


@contextmanager
def _signal_kept() -> Generator[None]:
    """Ray takes SIGTERM for itself; whoever had it knows whether a run was cancelled."""
    handler = signal.getsignal(signal.SIGTERM)
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield
        return
    try:
        yield
    except SystemExit as told:
        if told.code == signal.SIGTERM:  # Ray's way to say that the signal came meanwhile
            handler(signal.SIGTERM, None)
        raise
    finally:
        signal.signal(signal.SIGTERM, handler)


def _join(address: str, options: dict[str, Any]) -> None:
    import ray

    somebody_listens = False
    try:
        somebody_listens = _knock(address)
        ray.init(address=address, runtime_env=_code_for_cluster(), **options)
    except (OSError, RuntimeError, ValueError) as error:
        said = " ".join(str(error).split())[:200]
        if somebody_listens:  # Ray prints the reason to stderr, if at all
            raise ClusterUnreachableError(
                f"the Ray cluster of TOKGRAFT_RAY_ADDRESS={address} does not let this process in "
                f"({said}); one that asks for a token wants the same one here: RAY_AUTH_MODE=token "
                "and RAY_AUTH_TOKEN_PATH, or RAY_AUTH_TOKEN."
            ) from error
        raise ClusterUnreachableError(
            f"TOKGRAFT_RAY_ADDRESS={address} leads to no Ray cluster ({said}); start one, correct "
            "the address, or unset it to use this machine alone."
        ) from error


def _knock(address: str) -> bool:
    """Whether somebody listens; Ray itself would go on trying for minutes where nobody does."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():  # Ray's own names for addresses
        return False
    socket.create_connection((host, int(port)), _ANSWER_SECONDS).close()
    return True


def _code_for_cluster() -> dict[str, Any]:
    """A checkout travels with the driver; an installed wheel must be installed on every node."""
    folder = Path(__file__).resolve().parents[1]
    # Ray shows these in its dashboard and writes them to its logs: what is no setting stays here.
    names = {f"TOKGRAFT_{name.upper()}" for name in Settings.model_fields}
    settings = {name: os.environ[name] for name in names & os.environ.keys()}
    environment: dict[str, Any] = {"env_vars": settings}
    if (folder / "pyproject.toml").exists():
        environment["py_modules"] = [str(folder / name) for name in ("tasks", "infra")]
    return environment


def _refuse_other_versions() -> None:
    import ray

    here = _versions()
    there = ray.get(ray.remote(num_cpus=0)(_versions).remote())
    if here != there:
        raise VersionMismatchError(
            f"this process runs {here}, the cluster {there}; install the same wheel on both."
        )


def _versions() -> dict[str, str | None]:
    facts = provenance()
    names = ("tokgraft", "torch", "transformers", "safetensors")
    versions: dict[str, str | None] = {name: facts["packages"].get(name) for name in names}
    versions["python"] = facts["python"]
    return versions
