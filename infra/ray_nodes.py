"""Which files of this machine the nodes of a cluster see: all, on one machine or a shared disk."""

import os
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from infra.errors import InfraError
from infra.object_store import store_at
from infra.settings import Settings


class StoreNotSharedError(InfraError, RuntimeError):
    """The store is a folder, and a node of the cluster does not see it."""


def working_folders(settings: Settings) -> list[Path]:
    """Where stages keep what they work on."""
    folders = [Path(tempfile.gettempdir()), settings.cache_dir]
    if (store := _folder_of_store(settings)) is not None:
        folders.append(store)
    return folders


def check_store(settings: Settings) -> None:
    """See that workers on the nodes can read the store.

    Raises:
        StoreNotSharedError: it is a folder that a node does not see.
    """
    store = _folder_of_store(settings)
    if settings.ray_address is None or store is None or nodes_see([store]):
        return
    raise StoreNotSharedError(
        f"the store {store} is a folder of this machine, and a node of the Ray cluster "
        f"{settings.ray_address} does not see it; set TOKGRAFT_STORE to s3://..., or to a folder "
        "that all of them mount."
    )


def nodes_see(folders: Iterable[Path]) -> bool:
    """Whether every node that works sees what this process writes into these folders.

    Args:
        folders: made where they are not there.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    look = ray.remote(num_cpus=0)(_all_exist)
    with ExitStack() as stack:
        written = list[str]()
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(tempfile.NamedTemporaryFile(dir=folder, prefix=".seen-"))
            written.append(file.name)
        working = [n["NodeID"] for n in ray.nodes() if n["Alive"] and n["Resources"].get("CPU")]
        there = (NodeAffinitySchedulingStrategy(node, soft=False) for node in working)
        return all(ray.get([look.options(scheduling_strategy=t).remote(written) for t in there]))


def _all_exist(files: list[str]) -> bool:
    return all(os.path.exists(file) for file in files)


def _folder_of_store(settings: Settings) -> Path | None:
    """None where it is no folder."""
    store = store_at(settings.store_root)
    return store.local_path("") if store.is_local else None
