"""What a person sees while a run works."""

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from infra.artifacts import Artifact
from tasks.shared.run_options import Display

_PLAIN_SECONDS = 15.0
"""Least time between two progress lines where the output is a file or a log."""


class Terminal(Display):
    """One line a finished stage; below it a live bar, or now and then a line in a log."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None
        self._bar_task: TaskID | None = None
        self._last_line = 0.0

    def started(self, stage: str, key: str, *, cached: bool) -> None:
        """Show the stage at work."""
        self._last_line = time.monotonic()
        if cached or not self._console.is_terminal:
            return
        self._bar = Progress(
            TextColumn(f"  {stage:<12}"),
            BarColumn(bar_width=24),
            TextColumn("{task.description}", markup=False),
            console=self._console,
            transient=True,
        )
        self._bar_task = self._bar.add_task("", total=None)
        self._bar.start()

    def progress(self, stage: str, done: int | float, total: int | float, text: str) -> None:
        """Move the bar."""
        if self._bar is not None and self._bar_task is not None:
            self._bar.update(self._bar_task, completed=done, total=total or None, description=text)
        elif time.monotonic() - self._last_line >= _PLAIN_SECONDS:
            self._last_line = time.monotonic()
            self._print(f"  {stage:<12} {done:,.0f} of {total:,.0f}  {text}")

    def finished(self, stage: str, artifact: Artifact, seconds: float, *, cached: bool) -> None:
        """Leave one line."""
        self.stop()
        shown = [f"{k} {_number(v)}" for k, v in artifact.summary.items() if v is not None][:4]
        how = "Cached" if cached else f"{seconds:.1f} s"
        self._print(f"  {stage:<12} {how:>9}  {', '.join(shown)}")

    def stop(self) -> None:
        """Take the bar away, also after an error."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._bar_task = None

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _number(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
