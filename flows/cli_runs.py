"""Commands that run the flows, or say what would run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from flows.cli_console import make_run_console
from flows.cli_export import check_export, export_model
from flows.cli_outcomes import print_leaderboard, print_outcome

if TYPE_CHECKING:
    from prefect import Flow

    from flows.adapt import Adapted
    from flows.compare_config import CompareConfig
    from flows.run_config import RunConfig
    from infra.artifacts import Artifact

log = logging.getLogger("flows.cli")  # the command line's records have one name
Result = TypeVar("Result")
Config = ParamSpec("Config")
RunFile = Annotated[Path, typer.Argument(help="A YAML file that holds one whole run.")]
Force = Annotated[list[str] | None, typer.Option(help="Run this stage although it is cached.")]
ForceFrom = Annotated[
    str | None, typer.Option(help="Run this stage and all that depend on it, cached or not.")
]


def run(
    file: RunFile,
    force: Force = None,
    force_from: ForceFrom = None,
    export: Annotated[
        Path | None, typer.Option(help="Copy the adapted model to this folder at the end.")
    ] = None,
) -> None:
    """Run the whole path; stages that stand are not run again."""
    from flows.run_config import load_run_config

    console = make_run_console()
    config = load_run_config(file)
    if export is not None:
        export = export.absolute()
        check_export(export)
    adapted = _run_flow(console, force, force_from, lambda: _named(_adapt_flow(), file)(config))
    if export is not None:
        export_model(adapted.model, export)
    print_outcome(console, adapted, export)


def compare(
    file: Annotated[Path, typer.Argument(help="A YAML file that holds a grid of choices.")],
    force: Force = None,
    force_from: ForceFrom = None,
    only_plan: Annotated[
        bool, typer.Option("--plan", help="Say what would run, and run nothing.")
    ] = False,
) -> None:
    """Try tokenizers and initialisers on one model and text; end with a leaderboard."""
    from flows.compare_config import CompareConfig
    from flows.run_config import load_config

    console = make_run_console()
    grid = load_config(file, CompareConfig)
    if only_plan:
        _print_plan(force, force_from, lambda: _compare_flow().fn(grid))
        return
    board = _run_flow(console, force, force_from, lambda: _named(_compare_flow(), file)(grid))
    print_leaderboard(console, board)


def plan(file: RunFile, force: Force = None, force_from: ForceFrom = None) -> None:
    """Say which stages would run, which are cached, and which depend on others."""
    from flows.run_config import load_run_config

    config = load_run_config(file)
    _print_plan(force, force_from, lambda: _adapt_flow().fn(config))


# Both flows import every stage, so that they are fetched when a config was found to be good.
def _adapt_flow() -> Flow[[RunConfig], Adapted]:
    from flows.adapt import adapt

    return adapt


def _compare_flow() -> Flow[[CompareConfig], Artifact]:
    from flows.compare import compare

    return compare


def _named(flow: Flow[Config, Result], file: Path) -> Flow[Config, Result]:
    """The flow whose runs a person knows by their file."""
    return flow.with_options(flow_run_name=file.stem.replace("{", "{{").replace("}", "}}"))


def _run_flow(
    console: Console, force: list[str] | None, force_from: str | None, call: Callable[[], Result]
) -> Result:
    """Run a flow with its stages shown, under the server of the settings or one of its own."""
    from flows.embedded import prefect_server
    from flows.terminal import Terminal
    from infra.stages import settings_store
    from tasks.shared.run_options import RunOptions, run_options

    settings_store().check_writable()
    display = Terminal(console)
    options = RunOptions(force=frozenset(force or []), force_from=force_from, display=display)
    with prefect_server():
        options.check_names(_stage_names())
        run_options.set(options)
        try:
            result = call()
            log.info("run finished", extra={"result": _addresses(result)})
            return result
        finally:
            display.stop()


def _addresses(result: object) -> dict[str, str]:
    """Where the artifacts that a flow ended with are."""
    from infra.artifacts import Artifact

    fields = vars(result).values() if not isinstance(result, Artifact) else [result]
    return {field.stage: field.uri for field in fields if isinstance(field, Artifact)}


def _print_plan(
    force: list[str] | None, force_from: str | None, call: Callable[[], object]
) -> None:
    from tasks.shared.run_options import RunOptions, run_options

    options = RunOptions(plan_only=True, force=frozenset(force or []), force_from=force_from)
    options.check_names(_stage_names())
    run_options.set(options)
    call()
    table = Table("stage", "outcome", "key", "")
    for line in options.planned:
        table.add_row(line.stage, line.outcome, (line.key or "")[:16], line.because)
    Console().print(table)


def _stage_names() -> list[str]:
    """Names of all stages of all flows, as ``--force`` takes them."""
    from flows import adapt, compare
    from tasks.shared.task import Stage

    found = [*vars(adapt).values(), *vars(compare).values()]
    return sorted({value.name for value in found if isinstance(value, Stage)})
