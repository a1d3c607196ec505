"""Which runs work on this machine: a file each, locked by the process of the run.

The kernel lets go of a lock when its process ends, whatever ends it, so that a file that nobody
holds is of a run whose process is gone. Runs of other machines have no file here.
"""

import fcntl
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.errors import InfraError
from infra.settings import get_settings


class AtWorkError(InfraError, RuntimeError):
    """A run cannot be noted, or another process of this machine works on it."""


@dataclass(frozen=True)
class GoneRun:
    """A run whose process ended without a word."""

    id: str
    """Of the flow run."""
    attempt: str
    """How often it had begun."""
    file: Path

    def forget(self) -> None:
        """There is nothing left to do for it."""
        self.file.unlink(missing_ok=True)


@contextmanager
def noted(run: str, attempt: int) -> Generator[None]:
    """Hold the run's file for the block.

    Args:
        run: its id.
        attempt: how often it has begun, this time included.

    Raises:
        AtWorkError: the file cannot be written, or another process holds it.
    """
    path = _folder() / run
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="ascii")
    except OSError as error:
        raise AtWorkError(
            f"{path} cannot be written ({error.strerror}); set TOKGRAFT_DATA_FOLDER to a folder "
            "that can."
        ) from error
    with file:
        if not _locked(file.fileno()):
            raise AtWorkError(f"another process works on run {run}; end it, or let it go on.")
        file.truncate(0)
        file.write(str(attempt))
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def gone_runs() -> list[GoneRun]:
    """Runs of this machine whose process is gone."""
    found = list[GoneRun]()
    for path in sorted(_folder().glob("*")):
        with path.open("r+", encoding="ascii") as file:
            if _locked(file.fileno()):
                found.append(GoneRun(path.name, file.read(), path))
    return found


def _locked(file: int) -> bool:
    """Whether the lock could be had; not by flock, which forked processes would hold too."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _folder() -> Path:
    return get_settings().data_folder / "at_work"
