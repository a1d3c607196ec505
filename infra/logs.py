"""Log records as JSON lines for machines; a person reads the terminal instead.

Every record carries the flow, its run, the stage and its key, whoever wrote it.
"""

import json
import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from infra.credentials import without_credentials
from infra.settings import get_settings

_OURS = ("flows", "tasks", "infra")
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_place: ContextVar[dict[str, str | None] | None] = ContextVar("log_place", default=None)


@contextmanager
def log_place(
    flow: str | None, run: str | None, stage: str | None, key: str | None
) -> Generator[None]:
    """Say where in a run the block is; records made inside carry it."""
    token = _place.set({"flow": flow, "run": run, "stage": stage, "key": key})
    try:
        yield
    finally:
        _place.reset(token)


class JsonLines(logging.Formatter):
    """One JSON object a record: time (UTC), level, logger, message, place, and its own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The record in one line."""
        own = {name: value for name, value in vars(record).items() if name not in _PLAIN}
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **(_place.get() or dict.fromkeys(("flow", "run", "stage", "key"))),
            **own,
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return without_credentials(json.dumps(line, ensure_ascii=False, default=str))


def set_up_logs() -> bool:
    """Send records to stderr as ``TOKGRAFT_LOG_FORMAT`` says; again and again is fine.

    Returns:
        Whether they are JSON lines.
    """
    if get_settings().log_format != "json":
        return False
    root = logging.getLogger()
    if not logs_are_json():
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonLines())
        root.addHandler(handler)
        logging.captureWarnings(True)
        for name in _OURS:
            logging.getLogger(name).setLevel(logging.INFO)
    return True


def logs_are_json() -> bool:
    """Whether this process writes its records as JSON lines."""
    return any(isinstance(h.formatter, JsonLines) for h in logging.getLogger().handlers)
