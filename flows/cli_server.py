"""Commands around a Prefect server, and whether a run would work at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from flows.cli_console import make_console


def up(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of the Prefect server.")] = 4200,
    host: Annotated[str, typer.Option(help="Address that it is reached by.")] = "127.0.0.1",
    database_url: Annotated[
        str | None,
        typer.Option(
            envvar="PREFECT_SERVER_DATABASE_CONNECTION_URL",
            help="postgresql://... for its records; none: SQLite in tokgraft's data folder.",
        ),
    ] = None,
    configs: Annotated[
        Path | None, typer.Option(help="Folder of run files; none: TOKGRAFT_CONFIGS.")
    ] = None,
    webhook: Annotated[
        Path | None,
        typer.Option(
            help="Allow-list of the webhook receiver; none: webhook/allow_list.yaml of the "
            "configs, where TOKGRAFT_WEBHOOK_SECRET is set."
        ),
    ] = None,
    webhook_port: Annotated[int, typer.Option(min=1, max=65535)] = 4280,
) -> None:
    """Start a Prefect server, what runs flows from it and webhooks; Ctrl-C ends all."""
    from flows.up import up as start
    from flows.up_place import Place, allow_list_of
    from infra.settings import get_settings
    from infra.stages import settings_store

    settings_store().check_writable()
    folder = (configs or get_settings().configs).absolute()
    allowed = webhook.absolute() if webhook else allow_list_of(folder)
    hook = None if allowed is None else (allowed, webhook_port)
    console = make_console()
    start(
        Place(host, port, database_url, folder, hook),
        lambda name, what: console.print(f"{name:<9} {what}", soft_wrap=True, highlight=False),
    )


def serve() -> None:
    """Register the flows with the server of PREFECT_API_URL, and run what it is asked for."""
    from flows.prefect_process import reach_directly

    url = _api_url()
    reach_directly()
    from flows.serve import serve_flows

    serve_flows(url)


def schedule(
    config: Annotated[str, typer.Argument(help="Name of a run file that the server offers.")],
    cron: Annotated[
        str | None,
        typer.Argument(help='Minute, hour, day, month, day of the week: "0 3 * * 1".'),
    ] = None,
    timezone: Annotated[str, typer.Option(help="As Europe/Berlin.")] = "UTC",
    flow: Annotated[Literal["adapt", "compare", "evaluate"], typer.Option()] = "adapt",
    off: Annotated[bool, typer.Option("--off", help="Take the schedule back.")] = False,
) -> None:
    """Let a server run a file again and again, each time with a new look at its sources."""
    from flows.prefect_api import api_at
    from tasks.shared.errors import InputError

    if off == (cron is not None):
        raise InputError(f"schedule {config} takes either a cron line or --off.")
    with api_at(_api_url()) as api:
        from flows import schedules

        if cron is None:
            there = schedules.clear_by_command(api, f"{flow}/tokgraft", config)
            said = "is off" if there else "was not set by this command; nothing is changed"
        else:
            wanted = schedules.checked(flow=flow, config=config, cron=cron, timezone=timezone)
            schedules.set_by_command(api, f"{flow}/tokgraft", wanted)
            said = f"runs at {cron} {timezone}"
    make_console().print(f"{flow} {config} {said}", soft_wrap=True, highlight=False)


def doctor() -> None:
    """Check whether a run would work here; exit code 2 where it would not."""
    from flows.doctor import examine

    if not examine(Console()):
        raise typer.Exit(2)


def webhook(
    allow_list: Annotated[
        Path, typer.Argument(help="A YAML file of deployments and parameters that may be run.")
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 4280,
) -> None:
    """Take signed deliveries over HTTP and make a Prefect run of each."""
    from flows.webhook_command import serve

    serve(make_console(), allow_list, host, port)


def _api_url() -> str:
    """The server; Prefect reads the variable when it is imported."""
    from flows.prefect_api import DEFAULT_URL

    return os.environ.setdefault("PREFECT_API_URL", DEFAULT_URL)
