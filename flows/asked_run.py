"""The run that a form, a schedule or a webhook asks for: a file's name and changes, or the whole.

Parameters are those of the deployed flows (``flows.deployed``); all are checked here, before any
stage, and by the webhook's receiver with the same functions before it takes a delivery.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import ConfigDict, Field, validate_call

from flows.compare_config import CompareConfig
from flows.measure_config import MeasureConfig
from flows.run_config import RunConfig, RunConfigError, check_config
from flows.run_files import Kind, read_run_file, with_changes
from infra.settings import get_settings

NO_FILE = "(none: the run below)"
AS_CONFIGURED = "(as configured)"
"""What choices of a form begin with."""

Count = Annotated[int, Field(gt=0)]
WholeRun = dict[str, Any]

_MEASURED = frozenset(MeasureConfig.model_fields)
_checked = validate_call(config=ConfigDict(strict=True))


@_checked
def asked_adapt(
    *,
    config: str = NO_FILE,
    target_bytes: Count | None = None,
    tokenizer: str = AS_CONFIGURED,
    vocabulary_size: Count | None = None,
    initialiser: str = AS_CONFIGURED,
    refresh: bool = False,
    run: WholeRun | None = None,
) -> RunConfig:
    """Make the config of an adaptation.

    Raises:
        RunConfigError: one line that names what is wrong.
        ValidationError: a parameter is of another type.
    """
    name, values = _file_or_run("run", config, run)
    changed = with_changes(
        values,
        target_bytes=target_bytes,
        tokenizer=_unless_as_configured(tokenizer),
        vocabulary_size=vocabulary_size,
        initialiser=_unless_as_configured(initialiser),
        refresh=refresh,
    )
    return check_config(changed, RunConfig, name)


@_checked
def asked_compare(
    *,
    config: str = NO_FILE,
    target_bytes: Count | None = None,
    refresh: bool = False,
    run: WholeRun | None = None,
) -> CompareConfig:
    """Make the config of a comparison; raises as ``asked_adapt``."""
    name, values = _file_or_run("comparison", config, run)
    changed = with_changes(values, target_bytes=target_bytes, refresh=refresh)
    return check_config(changed, CompareConfig, name)


@_checked
def asked_evaluate(
    *,
    config: str = NO_FILE,
    model: str = "",
    refresh: bool = False,
    run: WholeRun | None = None,
) -> MeasureConfig:
    """Make the config of a measuring; raises as ``asked_adapt``.

    Of a run's fields it keeps those that measuring needs.
    """
    name, values = _file_or_run("run", config, run)
    kept = {k: v for k, v in with_changes(values, refresh=refresh).items() if k in _MEASURED}
    if model:
        kept["model"] = {"source": {"kind": "directory", "path": model}}
    return check_config(kept, MeasureConfig, name)


def _file_or_run(
    kind: Kind, config: str, run: Mapping[str, Any] | None
) -> tuple[str, Mapping[str, Any]]:
    """How a person knows what a run was asked to do, and its values.

    Raises:
        RunConfigError: nothing is named, or two things are; or the file cannot be read.
    """
    if (run is None) == (config == NO_FILE):
        came = f"config is {config} and run {'is empty' if run is None else 'is given'}"
        raise RunConfigError(f"{came}; choose a file as config, or give a whole run as run.")
    if run is not None:
        return "run", run
    return config, read_run_file(get_settings().configs, kind, config)


def _unless_as_configured(name: str) -> str | None:
    return None if name == AS_CONFIGURED else name
