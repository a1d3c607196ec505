"""A pipeline that is killed at its N-th chance, run as a process of its own.

The chances are not picked by hand: each change to a file below the store that Python makes (seen by
an audit hook just before it happens), each table written and closed, each file of tensors, each
change that is asked of the object store, before and after, and each border between stages.
"""

import functools
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

_CHANGES = {  # and where in the event's arguments the folder is that the path is relative to
    "os.rename": 2, "os.link": 2, "os.remove": 1, "os.mkdir": 2, "os.rmdir": 1, "os.truncate": None,
}  # fmt: skip
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Chances:
    """Counts the chances to be killed, and takes the one that is fatal."""

    def __init__(self, store_root: str, fatal: int) -> None:
        self.names: list[str] = []
        self.stages: list[str] = []
        """At each of them, the stage at work, or behind which it is; none before the first."""
        self._stage = ""
        self._root = store_root
        self._fatal = fatal

    def pass_by(self, name: str) -> None:
        """One more; the process may end here, as by ``kill -9``."""
        self.names.append(name)
        self.stages.append(self._stage)
        if len(self.names) == self._fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        """See everything from now on."""
        import pyarrow.parquet as pq

        import infra.weights
        import tasks.shared.task
        from infra.object_store import ObjectStore

        sys.addaudithook(self._hear)
        for kind, methods in (
            (ObjectStore, ("write", "create", "upload", "delete", "delete_file")),
            (pq.ParquetWriter, ("write_table", "close")),
            (infra.weights, ("save_tensors",)),
            (tasks.shared.task, ("run_call",)),
            (tasks.shared.task.Stage, ("__call__",)),
        ):
            for method in methods:
                self._surround(kind, method)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            is_change = any(c in (mode or "") for c in "wax+") or bool((flags or 0) & _WRITING)
        else:
            is_change = event in _CHANGES
        if is_change and isinstance(arguments[0], str | os.PathLike):
            path = os.fspath(arguments[0])
            at = _CHANGES.get(event)
            if isinstance(path, str) and at is not None and arguments[at] >= 0:
                path = os.path.join(os.readlink(f"/proc/self/fd/{arguments[at]}"), path)
            if isinstance(path, str) and path.startswith(self._root):
                self.pass_by(f"{event} {os.path.relpath(path, self._root)}")

    def _surround(self, owner: Any, name: str) -> None:
        plain: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(plain)
        def surrounded(*args: Any, **kwargs: Any) -> Any:
            if name == "__call__":
                self._stage = args[0].name
            self.pass_by(f"before {name}")
            result = plain(*args, **kwargs)
            self.pass_by(f"after {name}")
            return result

        setattr(owner, name, surrounded)


def main(fatal: int, report: Path, arguments: Sequence[str]) -> None:
    """Run the command line with chances to be killed; the report holds how many there were."""
    from flows.cli import app
    from flows.embedded import prefect_server
    from infra.settings import get_settings

    # Its server first: what is instrumented imports Prefect, which reads its settings then.
    with prefect_server():
        chances = Chances(get_settings().store_root, fatal)
        chances.install()
        app(list(arguments), standalone_mode=False)
    report.write_text("\n".join(chances.names))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
