"""Parameters of our own flows, checked as the flows check them, before a delivery is taken."""

import contextlib
import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ValidationError

from flows.asked_run import NO_FILE, asked_adapt, asked_compare, asked_evaluate
from flows.run_config import RunConfigError, describe_problems
from infra.credentials import without_credentials
from infra.settings import get_settings
from infra.webhook.runs import BadParametersError

_MAX_NAME_BYTES = 255
"""No file system here takes longer ones."""
_ASKED: dict[str, Callable[..., BaseModel]] = {
    "adapt": asked_adapt,
    "compare": asked_compare,
    "evaluate": asked_evaluate,
}


def check_parameters(deployment: str, parameters: Mapping[str, Any]) -> None:
    """Accept parameters that make a run which may start.

    Whether a run file of that name exists is the worker's to say, which may be on another machine;
    one that lies here too is read with the changes that are asked for.

    Args:
        deployment: FLOW/DEPLOYMENT; flows that are not ours are let through.
        parameters: as the flow takes them.

    Raises:
        BadParametersError: names every wrong field with its path, in one line.
    """
    flow = deployment.partition("/")[0]
    if flow not in _ASKED:
        return
    name = parameters.get("config", NO_FILE)
    if not isinstance(name, str) or name == NO_FILE:
        _check(flow, json.dumps(parameters), None)
        return
    if "/" in name or len(name.encode()) > _MAX_NAME_BYTES:
        raise BadParametersError(
            f"config is {without_credentials(name)[:40]!r}, {len(name):,} characters; it is the "
            f"name of a run file, without a folder and of at most {_MAX_NAME_BYTES} bytes."
        )
    with contextlib.suppress(OSError):  # it is not here, or not for the receiver to read
        _check(flow, json.dumps(parameters), (get_settings().configs / name).stat().st_mtime_ns)


# To read a run file and check it takes 10 ms, which two hundred equal deliveries should not pay.
@lru_cache(maxsize=256)
def _check(flow: str, parameters: str, changed_ns: int | None) -> None:
    """Raise what is wrong; the file's time of change tells one state of it from another."""
    try:
        _ASKED[flow](**json.loads(parameters))
    except ValidationError as error:
        raise BadParametersError(f"{describe_problems(error)}.") from None
    except RunConfigError as error:
        raise BadParametersError(str(error)) from None
