"""Commands that look at and clean up the artifact store."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

artifacts = typer.Typer(no_args_is_help=True, help="Look at and clean up the artifact store.")
Uri = Annotated[str, typer.Argument(help="Address of an artifact, as `artifacts ls` prints it.")]


@artifacts.command("ls")
def ls(stage: Annotated[str | None, typer.Argument(help="Only this stage.")] = None) -> None:
    """List whole artifacts, the oldest first."""
    from infra.artifacts import all_attempts, read_artifacts
    from infra.stages import settings_store

    store = settings_store()
    paths = sorted(all_attempts(store, stage or ""), key=lambda path: path.rpartition("/")[2])
    for artifact in read_artifacts(store, paths):
        # No table: it would cut addresses short where the terminal is narrow.
        typer.echo(f"{artifact.stage:<12}  {artifact.digest[:12]}  {artifact.uri}")


@artifacts.command()
def show(uri: Uri) -> None:
    """Print an artifact's manifest."""
    from infra.artifacts import read_artifact, read_manifest

    Console().print_json(data=read_manifest(read_artifact(uri)))


@artifacts.command()
def verify(
    uri: Annotated[
        str | None, typer.Argument(help="Only this artifact; without it, the whole store.")
    ] = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="Of the whole store compare names and sizes only.")
    ] = False,
) -> None:
    """Check files against their sha256."""
    from infra.artifacts import read_artifact, verify_artifact
    from infra.errors import CorruptFileError
    from infra.stages import settings_store
    from infra.verification import verify_store
    from tasks.shared.errors import InputError

    if uri is not None:
        if fast:
            raise InputError("--fast is for the whole store; of one artifact every file is read.")
        typer.echo(f"{verify_artifact(read_artifact(uri))} files are what was written.")
        return
    found = verify_store(settings_store(), fast=fast)
    for problem in found.problems:
        typer.echo(problem)
    seen = f"{found.n_artifacts} artifacts, {found.n_files} files"
    if found.problems:
        raise CorruptFileError(f"{seen}: {len(found.problems)} are not what was written, as above.")
    typer.echo(f"{seen}: {'names and sizes are' if fast else 'all are'} what was written.")


@artifacts.command()
def gc(
    delete: Annotated[bool, typer.Option("--delete", help="Remove them.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List them and remove nothing, as without --delete.")
    ] = False,
    keep_generations: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Of each key let all but its N newest artifacts go; none: all stay."
        ),
    ] = None,
) -> None:
    """Find (and with --delete remove) what no current artifact leads to."""
    from infra.garbage import contents_of, find_garbage, remove_garbage
    from infra.settings import get_settings
    from infra.stages import settings_store
    from tasks.shared.errors import InputError

    if delete and dry_run:
        raise InputError("gc takes either --delete or --dry-run, which lists and removes nothing.")
    if keep_generations is not None and keep_generations < 1:
        raise InputError(
            f"--keep-generations {keep_generations} would leave a key without its artifact; "
            "give 1 or more, or leave it out to keep all."
        )
    store = settings_store()
    contents = contents_of(store)
    garbage = find_garbage(store, get_settings().gc_grace_hours, keep_generations, contents)
    table = Table("path", "why", "MB")
    for item in garbage:
        table.add_row(item.path, item.why, f"{item.n_bytes / 1e6:,.1f}")
    console = Console(soft_wrap=True)
    console.print(table)
    if contents.n_foreign_files:
        console.print(f"{contents.n_foreign_files} files here are not tokgraft's and stay")
    if delete:
        n_removed = len(remove_garbage(store, garbage))
        console.print(f"removed {n_removed}")
        if n_removed < len(garbage):
            console.print(f"left {len(garbage) - n_removed}, which a run has taken up since")
