"""The command line: the only argument parser.

Heavy imports stay inside the commands, so that ``--help`` and errors are quick.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from prefect import Flow

    from flows.adapt import Adapted
    from flows.compare_config import CompareConfig
    from flows.run_config import RunConfig
    from infra.artifacts import Artifact

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Give a pretrained language model a new tokenizer.",
)
artifacts = typer.Typer(no_args_is_help=True, help="Look at and clean up the artifact store.")
app.add_typer(artifacts, name="artifacts")

Result = TypeVar("Result")
Config = ParamSpec("Config")
RunFile = Annotated[Path, typer.Argument(help="A YAML file that holds one whole run.")]
Force = Annotated[list[str] | None, typer.Option(help="Run this stage although it is cached.")]
ForceFrom = Annotated[
    str | None, typer.Option(help="Run this stage and all that depend on it, cached or not.")
]
Uri = Annotated[str, typer.Argument(help="Address of an artifact, as `artifacts ls` prints it.")]


@app.command()
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

    console = _console()
    config = load_run_config(file)
    if export is not None:
        export = export.absolute()
        _check_export(export)
    adapted = _run_flow(console, force, force_from, lambda: _named(_adapt_flow(), file)(config))
    if export is not None:
        _export(adapted.model, export)
    _print_outcome(console, adapted, export)


@app.command()
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

    console = _console()
    grid = load_config(file, CompareConfig)
    if only_plan:
        _print_plan(force, force_from, lambda: _compare_flow().fn(grid))
        return
    board = _run_flow(console, force, force_from, lambda: _named(_compare_flow(), file)(grid))
    _print_leaderboard(console, board)


@app.command()
def plan(file: RunFile, force: Force = None, force_from: ForceFrom = None) -> None:
    """Say which stages would run, which are cached, and which depend on others."""
    from flows.run_config import load_run_config

    config = load_run_config(file)
    _print_plan(force, force_from, lambda: _adapt_flow().fn(config))


def _console() -> Console:
    from infra.logs import set_up_logs

    if set_up_logs():
        return Console(quiet=True)  # its records say the same
    console = Console()
    return console if console.is_terminal else Console(width=120)  # a log has no width of its own


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
        options.check_names(stage_names())
        run_options.set(options)
        try:
            result = call()
            logging.getLogger(__name__).info("run finished", extra={"result": _addresses(result)})
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
    options.check_names(stage_names())
    run_options.set(options)
    call()
    table = Table("stage", "outcome", "key", "")
    for line in options.planned:
        table.add_row(line.stage, line.outcome, (line.key or "")[:16], line.because)
    Console().print(table)


@app.command()
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
    console = _console()
    start(
        Place(host, port, database_url, folder, hook),
        lambda name, what: console.print(f"{name:<9} {what}", soft_wrap=True, highlight=False),
    )


@app.command()
def serve() -> None:
    """Register the flows with the server of PREFECT_API_URL, and run what it is asked for."""
    from flows.prefect_process import reach_directly

    url = _api_url()
    reach_directly()
    from flows.serve import serve_flows

    serve_flows(url)


@app.command()
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
    _console().print(f"{flow} {config} {said}", soft_wrap=True, highlight=False)


def _api_url() -> str:
    """The server; Prefect reads the variable when it is imported."""
    from flows.prefect_api import DEFAULT_URL

    return os.environ.setdefault("PREFECT_API_URL", DEFAULT_URL)


@app.command()
def inspect(
    tokenizer: Annotated[Path, typer.Argument(help="A folder with tokenizer.json.")],
    text: Annotated[str, typer.Argument(help="A file, a text, or - for standard input.")],
    compare: Annotated[Path | None, typer.Option(help="A second tokenizer beside it.")] = None,
) -> None:
    """Show what a tokenizer does to a text."""
    from flows.inspect_tokenizer import read_text_argument, show

    show(Console(), tokenizer, read_text_argument(text, sys.stdin.buffer), compare)


@app.command()
def explain(
    model: Annotated[
        str, typer.Argument(help="A folder that --export wrote, or an artifact's address.")
    ],
    token: Annotated[
        str, typer.Argument(help="A token's text, where a leading space counts, or its id.")
    ],
    take_as: Annotated[
        Literal["text", "id"] | None,
        typer.Option("--as", help="Take TOKEN for a text or an id alone."),
    ] = None,
) -> None:
    """Say where the rows of a token come from."""
    from flows.explain import read_lineage, show
    from flows.named_token import find_token

    lineage = read_lineage(model)
    show(_console(), lineage, find_token(lineage, token, take_as))


@app.command()
def mixture(
    tokenizer: Annotated[Path, typer.Argument(help="A folder with tokenizer.json.")],
    sample: Annotated[list[str], typer.Option(help="name=path of a text file; two or more.")],
    n_merges: Annotated[
        int, typer.Option(min=1, help="How many of the first merges to use.")
    ] = 500,
) -> None:
    """Infer in which shares kinds of text stood in a tokenizer's training text."""
    from flows.mixture_command import infer

    infer(Console(), tokenizer, sample, n_merges)


@app.command()
def doctor() -> None:
    """Check whether a run would work here; exit code 2 where it would not."""
    from flows.doctor import examine

    if not examine(Console()):
        raise typer.Exit(2)


@app.command()
def webhook(
    allow_list: Annotated[
        Path, typer.Argument(help="A YAML file of deployments and parameters that may be run.")
    ],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 4280,
) -> None:
    """Take signed deliveries over HTTP and make a Prefect run of each."""
    from flows.webhook_command import serve

    serve(_console(), allow_list, host, port)


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


def stage_names() -> list[str]:
    """Names of all stages of all flows, as ``--force`` takes them."""
    from flows import adapt, compare
    from tasks.shared.task import Stage

    found = [*vars(adapt).values(), *vars(compare).values()]
    return sorted({value.name for value in found if isinstance(value, Stage)})


@contextmanager
def _written_whole(folder: Path) -> Generator[Path]:
    """A folder beside the one to export to, for the block to fill; it is gone afterwards."""
    from tasks.shared.errors import InputError

    partial = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
    except OSError as error:
        said = " ".join(str(error).split())[:300]
        raise InputError(
            f"--export {folder} cannot be written ({said}); name a folder with room that can."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check_export(folder: Path) -> None:
    """Before any work: nothing is overwritten, and the place can be written."""
    from tasks.shared.errors import InputError

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"--export {folder} exists and is not an empty folder; nothing is overwritten, "
            "name another one."
        )
    with _written_whole(folder):
        pass


def _export(model: Artifact, folder: Path) -> None:
    """Copy whole or not at all: a folder that exists is a model that loads."""
    from infra.artifacts import open_artifact

    source = open_artifact(model)
    with _written_whole(folder) as partial:
        # Hidden files of a cached copy are remains of downloads that were killed.
        ignored = shutil.ignore_patterns("manifest.json", ".*")
        shutil.copytree(source, partial, ignore=ignored, dirs_exist_ok=True)
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)


def main() -> None:
    """Run a command; what a person can mend is one line on stderr and exit code 2."""
    from pydantic import ValidationError

    from infra.errors import InfraError
    from tasks.shared.errors import InputError

    try:
        app()
    except (InputError, InfraError) as error:
        sys.exit(_say(str(error)))
    except ValidationError as error:
        from flows.run_config import describe_problems

        sys.exit(_say(f"settings from the environment: {describe_problems(error)}"))


def _print_outcome(console: Console, adapted: Adapted, export: Path | None) -> None:
    """The numbers, and where everything is."""
    from infra.artifacts import open_artifact
    from infra.parquet import read_table
    from infra.settings import get_settings
    from tasks.evaluation.summary import summary_table

    report = open_artifact(adapted.report)
    header, *rows = summary_table(read_table(report / "metrics.parquet"))
    table = Table()
    for number, name in enumerate(header):
        # Words stay whole; an interval may go below its value in a narrow terminal.
        table.add_column(name, no_wrap=number < 2, justify="left" if number < 2 else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print(f"model      {export or open_artifact(adapted.model)}", soft_wrap=True)
    console.print(f"report     {report / 'report.html'}", soft_wrap=True)
    console.print(f"artifacts  {get_settings().store_root}", soft_wrap=True)


def _print_leaderboard(console: Console, board: Artifact) -> None:
    """A table a suite, and where the page is."""
    from infra.artifacts import open_artifact
    from infra.parquet import read_table
    from infra.settings import get_settings
    from tasks.evaluation.leaderboard_view import board_sentences, board_table
    from tasks.evaluation.metric_rows import suites_of

    folder = open_artifact(board)
    rows = read_table(folder / "leaderboard.parquet")
    for suite in suites_of(rows):
        header, *lines = board_table(rows, suite)
        table = Table(title=suite, title_justify="left")
        for number, name in enumerate(header):
            table.add_column(name, justify="left" if number < 2 else "right")
        for line in lines:
            table.add_row(*line)
        console.print(table)
    for sentence in board_sentences(rows):
        console.print(sentence, markup=False, highlight=False)
    console.print(f"leaderboard  {folder / 'leaderboard.html'}", soft_wrap=True)
    console.print(f"artifacts    {get_settings().store_root}", soft_wrap=True)


def _say(text: str) -> int:
    from infra.credentials import without_credentials
    from infra.logs import logs_are_json

    line = without_credentials(" ".join(text.split()))
    if logs_are_json():
        logging.getLogger(__name__).error(line)
    else:
        sys.stderr.write(f"tokgraft: {line}\n")
    return 2


if __name__ == "__main__":
    main()
