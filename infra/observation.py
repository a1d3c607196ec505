"""What a stage tells those who watch: log records and metrics."""

import logging
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

from infra.logs import log_place, set_up_logs
from infra.metrics import FlowMetrics, Outcome
from infra.settings import get_settings

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class FlowRun:
    """Which run of which flow; the id is Prefect's."""

    flow: str
    id: str


@dataclass
class StageWatch:
    """What the block adds to what is known about it."""

    n_bytes: int = 0
    """What it published."""


@contextmanager
def watched_stage(
    run: FlowRun | None, stage: str, key: str, *, cached: bool
) -> Generator[StageWatch]:
    """Log a stage's start and end, and count it.

    Args:
        run: None where a stage is called outside a flow: it is logged and not counted.
        stage: its name.
        key: its key.
        cached: whether the block only looks up what stands.
    """
    set_up_logs()
    watch = StageWatch()
    started = time.monotonic()
    outcome: Outcome = "failed"
    with log_place(run and run.flow, run and run.id, stage, key):
        _LOG.info("stage started", extra={"cached": cached})
        try:
            yield watch
            outcome = "cached" if cached else "ran"
        finally:
            seconds = time.monotonic() - started
            facts = {"outcome": outcome, "seconds": round(seconds, 3), "n_bytes": watch.n_bytes}
            if outcome == "failed":
                _LOG.error("stage failed", extra=facts, exc_info=True)
            else:
                _LOG.info("stage finished", extra=facts)
            if run is not None and _is_measured():
                _metrics_of(run).add(stage, outcome, seconds, watch.n_bytes)


def _is_measured() -> bool:
    settings = get_settings()
    return settings.metrics_folder is not None or settings.pushgateway is not None


@lru_cache(maxsize=8)
def _metrics_of(run: FlowRun) -> FlowMetrics:
    return FlowMetrics(run.flow)
