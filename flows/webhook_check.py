"""Parameters of our own flows, checked as the flows check them, before a delivery is taken."""

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from flows.asked_run import NO_FILE, asked_adapt, asked_compare, asked_evaluate
from flows.run_config import RunConfigError, describe_problems
from infra.settings import get_settings
from infra.webhook.runs import BadParametersError

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
    is_file = isinstance(name, str) and name != NO_FILE
    file = get_settings().configs / Path(name).name if is_file else None
    if file is None:
        _check(flow, json.dumps(parameters), None)
    elif file.name == name and file.exists():
        _check(flow, json.dumps(parameters), file.stat().st_mtime_ns)


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
