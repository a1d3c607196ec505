"""What a webhook asks of our own flows, checked as a run file is, before it is taken."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from flows.compare_config import CompareConfig
from flows.run_config import RunConfig, describe_problems
from infra.webhook.runs import BadParametersError

_KINDS = {"adapt": RunConfig, "compare": CompareConfig, "evaluate": RunConfig}


def check_parameters(deployment: str, parameters: Mapping[str, Any]) -> None:
    """Accept parameters that hold no run, or a whole one.

    Args:
        deployment: FLOW/DEPLOYMENT; flows that are not ours are let through.
        parameters: of which ``run`` is a run in place of a run file.

    Raises:
        BadParametersError: names every wrong field with its path, in one line.
    """
    kind = _KINDS.get(deployment.partition("/")[0])
    if kind is None or parameters.get("run") is None:
        return
    try:
        kind.model_validate(parameters["run"])
    except ValidationError as error:
        raise BadParametersError(f"run: {describe_problems(error)}.") from None
