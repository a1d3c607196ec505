"""Between training workers and their driver: reports one way, an error that ends the run both."""

import logging
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from infra.errors import InfraError

Report = dict[str, Any]
_POLL_SECONDS = 0.5
_LOG = logging.getLogger(__name__)


class StoppedError(InfraError, RuntimeError):
    """The driver ended the run; it knows why."""


class Reports:
    """A worker's way to the board: it waits for the answer to its last report, not to this one."""

    def __init__(self, board: Any) -> None:
        self._board = board
        self._answer: Any = None

    def __call__(self, record: Report) -> None:
        """Send a report.

        Raises:
            StoppedError: the driver has ended the run.
        """
        if self._answer is not None and from_board(self._answer):
            raise StoppedError("the run was ended by its driver, whose error says why.")
        self._answer = self._board.post.remote(record)


class _Board:
    """Actor between workers and driver: the newest report, and an error that ends the run.

    It may be lost with its node: nobody hears reports then, and training goes on.
    """

    def __init__(self) -> None:
        self._newest: Report | None = None
        self._failure: Exception | None = None

    def post(self, record: Report) -> bool:
        """Returns whether the run is to end."""
        self._newest = record
        return self._failure is not None

    def take(self) -> Report | None:
        newest, self._newest = self._newest, None
        return newest

    def fail(self, error: Exception) -> bool:
        self._failure = self._failure or error
        return True

    def failure(self) -> Exception | None:
        return self._failure


def board_beside_driver() -> Any:
    """A board on the driver's node (a Ray client's is the head), not on one that may be lost."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    actor: Any = ray.remote(num_cpus=0, max_restarts=-1)(_Board)
    return actor.options(scheduling_strategy=here).remote()


def from_board(reference: Any) -> Any:
    """What the board answers; None where it is lost."""
    import ray
    from ray.exceptions import RayActorError

    try:
        return ray.get(reference)
    except RayActorError as error:
        _LOG.warning("no reports of the training for now: %s", " ".join(str(error).split())[:200])
        return None


@contextmanager
def polling(
    board: Any, on_report: Callable[[Report], None], why_stop: Callable[[], Exception | None]
) -> Generator[None]:
    """Fetch reports while the block runs, and once more at its end; tell workers to stop."""
    stop = threading.Event()

    def fetch() -> None:
        record: Report | None = from_board(board.take.remote())
        if record is not None:
            on_report(record)

    def poll() -> None:
        while not stop.wait(_POLL_SECONDS):
            fetch()
            if (reason := why_stop()) is not None:
                from_board(board.fail.remote(reason))

    thread = threading.Thread(target=poll, daemon=True, name="training-reports")
    thread.start()
    try:
        yield
        fetch()
    finally:
        stop.set()
        thread.join()
