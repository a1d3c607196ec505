"""What the stages of a flow's last run took and wrote, for Prometheus.

A run is a batch job: nothing of it is left to be scraped when it ends. Its metrics go into a text
file for node_exporter's textfile collector, anew after every stage, and to a Pushgateway.
"""

import logging
import time
from http.client import HTTPException
from typing import Literal

from infra.cache import counts
from infra.settings import get_settings

Outcome = Literal["ran", "cached", "failed"]
_LOG = logging.getLogger(__name__)
_PUSH_SECONDS = 5.0
_STAGE = ["flow", "stage"]


class FlowMetrics:
    """The metrics of one run of a flow.

    A stage that a flow calls several times counts under one name: its seconds and bytes add up.
    """

    def __init__(self, flow: str) -> None:
        from prometheus_client import CollectorRegistry, Gauge

        self._flow = flow
        self._registry = CollectorRegistry()

        def gauge(name: str, about: str, labels: list[str]) -> Gauge:
            return Gauge(f"tokgraft_{name}", about, labels, registry=self._registry)

        self._seconds = gauge("stage_seconds", "Wall time of a stage in the last run.", _STAGE)
        self._bytes = gauge("stage_written_bytes", "What a stage published.", _STAGE)
        self._calls = gauge(
            "stage_calls", "Calls of a stage by outcome: ran, cached, failed.", [*_STAGE, "outcome"]
        )
        self._started = gauge(
            "run_started_timestamp_seconds", "Unix time of the run's start.", ["flow"]
        )
        self._latest = gauge(
            "run_last_stage_timestamp_seconds", "Unix time of its last stage.", ["flow"]
        )
        self._cache = gauge(
            "cache_events",
            "Local copies: files of artifacts hit and fetched, artifacts and downloads evicted.",
            ["flow", "event"],
        )
        self._started.labels(flow).set(time.time())

    def add(self, stage: str, outcome: Outcome, seconds: float, n_bytes: int) -> None:
        """Count one call of a stage, and write all metrics anew."""
        self._seconds.labels(self._flow, stage).inc(seconds)
        self._bytes.labels(self._flow, stage).inc(n_bytes)
        for known in ("ran", "cached", "failed"):
            # All three stand from the first call on: an alert on a missing series never fires.
            self._calls.labels(self._flow, stage, known).inc(known == outcome)
        self._latest.labels(self._flow).set(time.time())
        for event, n in (
            ("hit", counts.hits), ("fetched", counts.fetched), ("evicted", counts.evicted),
        ):  # fmt: skip
            self._cache.labels(self._flow, event).set(n)
        self._write()

    def _write(self) -> None:
        """A metric that cannot be written is a warning: it must not end hours of work."""
        from prometheus_client import push_to_gateway, write_to_textfile

        settings = get_settings()
        try:
            if settings.metrics_folder is not None:
                settings.metrics_folder.mkdir(parents=True, exist_ok=True)
                path = settings.metrics_folder / f"tokgraft_{self._flow}.prom"
                write_to_textfile(str(path), self._registry)
            if settings.pushgateway is not None:
                job = f"tokgraft_{self._flow}"
                push_to_gateway(settings.pushgateway, job, self._registry, timeout=_PUSH_SECONDS)
        except (OSError, HTTPException) as error:
            _LOG.warning(
                "metrics cannot be written (%s); check TOKGRAFT_METRICS_FOLDER and "
                "TOKGRAFT_PUSHGATEWAY", error,
            )  # fmt: skip
