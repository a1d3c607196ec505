"""Ray: workers for training, and tasks over shards on a cluster.

Only this file and its neighbours ``ray_board``, ``ray_connection`` and ``ray_nodes`` know Ray.

Without ``TOKGRAFT_RAY_ADDRESS`` a Ray of this machine is started for the call and ended with it.
Ray's own storage holds nothing of value: its folder is temporary and goes with the run.
"""

import logging
import os
import pkgutil
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from infra.devices import workers_on_gpu
from infra.errors import InfraError
from infra.process_memory import keep_freed_memory
from infra.ray_board import Report, Reports, board_beside_driver, from_board, polling
from infra.ray_connection import connected
from infra.ray_nodes import check_store, nodes_see, working_folders
from infra.settings import Settings

_Apply = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[Any]]

_LOG = logging.getLogger(__name__)
_WITHOUT_OUR_FILES = set[str | None]()
"""Addresses of clusters that were asked."""


class WorkerFailedError(InfraError, RuntimeError):
    """Training workers failed; the log has their traceback."""


@dataclass(frozen=True)
class WorkerPlace:
    """What a worker function learns about itself."""

    rank: int
    world_size: int
    device: str
    report: Callable[[Report], None]
    """Send a small record to the driver; later ones replace earlier ones that were not read."""


class WorkerFunction(Protocol):
    """A function of a module, which a worker imports by its name."""

    __module__: str
    __qualname__: str

    def __call__(self, payload: dict[str, Any], place: WorkerPlace, /) -> None:
        """Work until all is done."""
        ...


def run_training(
    worker: WorkerFunction,
    payload: dict[str, Any],
    settings: Settings,
    name: str,
    on_report: Callable[[Report], None],
    final_errors: tuple[type[Exception], ...] = (),
    why_stop: Callable[[], Exception | None] = lambda: None,
) -> None:
    """Run a function on all training workers at once, until it returns on every one.

    Lost workers are replaced and the function is called again; it must go on by itself from what
    it saved.

    Args:
        worker: a module-level function of an installed module.
        payload: plain values, the same for every worker.
        settings: workers, devices, cluster.
        name: unique for this try; Ray would take up an older run of the same name.
        on_report: hears rank 0's reports, in a thread of this process.
        final_errors: errors that trying again would only repeat, on all workers alike; they pass
            through unchanged.
        why_stop: asked again and again; an error ends the run when rank 0 next reports, and is
            raised.

    Raises:
        WorkerFailedError: workers failed more often than settings allow.
        StoreNotSharedError: the store is a folder that a node of the cluster does not see.
    """
    with connected(settings), tempfile.TemporaryDirectory(prefix="tokgraft-ray-") as scratch:
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer
        from ray.train.v2.api.config import LoggingConfig
        from ray.train.v2.api.exceptions import TrainingFailedError

        check_store(settings)
        on_gpu = _on_gpu(settings)
        board = board_beside_driver()
        trainer = TorchTrainer(
            _on_worker,
            train_loop_config={
                # By name: Ray's controller, which hands this on, need not import what trains.
                "worker": f"{worker.__module__}:{worker.__qualname__}",
                "payload": payload,
                "board": board,
                "final_errors": final_errors,
                "n_threads": settings.n_threads,
                "device": "cuda" if on_gpu else "cpu",
            },
            torch_config=TorchConfig(backend="nccl" if on_gpu else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=settings.world_size,
                use_gpu=on_gpu,
                resources_per_worker={"CPU": 1, **({"GPU": 1} if on_gpu else {})},
            ),
            run_config=RunConfig(
                name=name,
                storage_path=scratch,
                failure_config=FailureConfig(max_failures=settings.max_worker_failures),
                logging_config=LoggingConfig(log_level="ERROR"),
            ),
        )
        with polling(board, on_report, why_stop):
            try:
                trainer.fit()
            except TrainingFailedError as error:
                if (reason := why_stop()) is not None:
                    raise reason from None
                _raise_cause(error)
            failure: Exception | None = from_board(board.failure.remote())
            if failure is not None:
                raise failure


def run_on_node(
    work: Callable[[dict[str, Any], Callable[[Report], None]], Any],
    payload: dict[str, Any],
    settings: Settings,
    on_report: Callable[[Report], None],
) -> Any:
    """Call a function once in a worker of the cluster, with a GPU to itself where there are some.

    Args:
        work: a module-level function of an installed module; it reads artifacts by itself.
        payload: plain values.
        settings: devices, cluster.
        on_report: hears the function's reports, in a thread of this process.

    Returns:
        What the function returns. An error of its own is raised as it is.

    Raises:
        StoreNotSharedError: the store is a folder that a node of the cluster does not see.
    """
    with connected(settings):
        import ray

        check_store(settings)
        board = board_beside_driver()
        remote = ray.remote(num_cpus=1, num_gpus=int(_on_gpu(settings)), max_retries=1)(_on_node)
        with polling(board, on_report, lambda: None):
            return _result(remote.remote(work, payload, board, settings.n_threads))


def _on_node(work: Callable[..., Any], payload: dict[str, Any], board: Any, n_threads: int) -> Any:
    """What Ray calls in the worker process."""
    import torch

    torch.set_num_threads(n_threads or os.cpu_count() or 1)
    return work(payload, Reports(board))


@contextmanager
def tasks_on_cluster(settings: Settings) -> Generator[_Apply | None]:
    """What applies a function to shards as Ray tasks, results in their order.

    Shards name files, so that it is ``None`` where a node does not see those of this machine.
    """
    if settings.ray_address in _WITHOUT_OUR_FILES:
        yield None
        return
    with connected(settings):
        if not nodes_see(working_folders(settings)):
            _WITHOUT_OUR_FILES.add(settings.ray_address)
            _LOG.info("nodes of the cluster do not see this machine's files: shards stay here")
            yield None
            return
        yield _apply


def _apply(fn: Callable[[Any], Any], shards: Sequence[Any]) -> Iterator[Any]:
    import ray

    remote = ray.remote(fn)
    yield from map(_result, [remote.remote(shard) for shard in shards])


def _result(reference: Any) -> Any:
    import ray
    from ray.exceptions import RayTaskError

    try:
        return ray.get(reference)
    except RayTaskError as error:
        # Its text is a whole traceback from the node, which stays to be seen as the cause.
        raise _innermost(error) from error


def _on_worker(job: Mapping[str, Any]) -> None:
    """What Ray calls in every worker process."""
    import ray
    import ray.train
    import torch

    board = job["board"]
    if from_board(board.failure.remote()) is not None:
        return  # the run is over: Ray starts workers again after one was told so
    keep_freed_memory()
    context = ray.train.get_context()
    world_size = context.get_world_size()
    n_local = context.get_local_world_size()
    torch.set_num_threads(job["n_threads"] or max(1, (os.cpu_count() or 1) // n_local))
    device = f"cuda:{torch.cuda.current_device()}" if job["device"] == "cuda" else "cpu"
    worker: WorkerFunction = pkgutil.resolve_name(job["worker"])
    place = WorkerPlace(context.get_world_rank(), world_size, device, Reports(board))
    try:
        worker(job["payload"], place)
    except job["final_errors"] as error:
        # Returning tells Ray not to start the workers again.
        if not from_board(board.fail.remote(error)):
            raise


def _raise_cause(error: Exception) -> NoReturn:
    """One error instead of Ray's layers: our own, or one line with the rest in the log."""
    failures: Mapping[int, Exception] = getattr(error, "worker_failures", {})
    for rank, failure in sorted(failures.items()):
        cause = _innermost(failure)
        if isinstance(cause, InfraError):
            raise cause from None
        _LOG.error("training worker %d failed:\n%s", rank, failure)
    first = _innermost(failures[min(failures)]) if failures else error
    raise WorkerFailedError(
        f"{len(failures) or 'all'} training workers failed, first with {type(first).__name__}: "
        f"{' '.join(str(first).split())[:300]}. The traceback is in the log; the same command goes "
        "on from the last checkpoint."
    ) from error


def _innermost(error: BaseException) -> BaseException:
    """The error that the worker function raised, below Ray's wrappers."""
    while True:
        inner = getattr(error, "cause", None) or getattr(error, "_base_exc", None)
        if not isinstance(inner, BaseException):
            return error
        error = inner


def _on_gpu(settings: Settings) -> bool:
    import ray

    n_gpus = float(ray.cluster_resources().get("GPU", 0))
    may_grow = settings.ray_address is not None
    return workers_on_gpu(settings.device, n_gpus, settings.world_size, may_grow=may_grow)
