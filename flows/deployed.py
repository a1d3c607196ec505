"""The flows as Prefect deploys them: parameters that a form, a schedule or a webhook can fill in.

A whole run is a tree of some hundred fields with a choice of variants at many places. Prefect's
older form draws no field for such a choice, and its newer one takes the name of the variant as
free text; so these flows take a run file's name and a few changes, or a whole run as JSON.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated, Any, get_args
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run
from pydantic import Field

from flows import adapt as main_path
from flows import compare as comparison
from flows import measure
from flows.asked_run import (
    AS_CONFIGURED,
    NO_FILE,
    Count,
    WholeRun,
    asked_adapt,
    asked_compare,
    asked_evaluate,
)
from flows.at_work import noted
from flows.run_files import Kind, run_files
from infra.process_tree import die_with_parent
from infra.settings import get_settings
from infra.stages import settings_store
from tasks.embedding.config import Initialiser
from tasks.shared.run_options import RunOptions, run_options
from tasks.tokenizer.config import TokenizerConfig

DEPLOYMENT = "tokgraft"
"""Name of each flow's deployment: ``adapt/tokgraft``."""


def _choice(first: str, names: list[str]) -> dict[str, Any]:
    return {"enum": [first, *names]}


def _files(kind: Kind) -> dict[str, Any]:
    return _choice(NO_FILE, run_files(get_settings().configs, kind))


def _methods(union: Any) -> dict[str, Any]:
    fields = [variant.model_fields["method"] for variant in get_args(get_args(union)[0])]
    return _choice(AS_CONFIGURED, [name for f in fields for name in get_args(f.annotation)])


RunFile = Annotated[str, Field(json_schema_extra=_files("run"))]
CompareFile = Annotated[str, Field(json_schema_extra=_files("comparison"))]
Tokenizer = Annotated[str, Field(json_schema_extra=_methods(TokenizerConfig))]
InitialiserName = Annotated[str, Field(json_schema_extra=_methods(Initialiser))]


def _run_name() -> str:
    """What a person reads in the list of runs: the file and the changes to it."""
    given = flow_run.get_parameters()
    changes = {k: v for k, v in given.items() if k not in ("config", "run")}
    shown = [f"{k} {v}" for k, v in changes.items() if v not in (None, False, "", AS_CONFIGURED)]
    file = given.get("config", NO_FILE)
    return ", ".join([file.removesuffix(".yaml") if file != NO_FILE else "run from JSON", *shown])


@flow(name="adapt", flow_run_name=_run_name, persist_result=False, result_serializer="json")
def adapt(
    config: RunFile = NO_FILE,
    target_bytes: Count | None = None,
    tokenizer: Tokenizer = AS_CONFIGURED,
    vocabulary_size: Count | None = None,
    initialiser: InitialiserName = AS_CONFIGURED,
    refresh: bool = False,
    run: WholeRun | None = None,
) -> None:
    """Give a pretrained model a new tokenizer, train it on, and measure what that brought.

    Stages whose outcome stands already are not run again. Suspending a run takes effect before
    its next stage; cancelling it ends the stage at work, and a retry goes on from there.

    Args:
        config: A file in the folder of run files.
        target_bytes: Bytes of text to keep for training; none: as configured.
        tokenizer: Another method takes its own defaults.
        vocabulary_size: Tokens of the new vocabulary; under extend, how many are added.
        initialiser: How rows of new tokens begin; another method takes its own defaults.
        refresh: Look at every source again, packages and the Hub too; schedules do.
        run: In place of config: a whole run as JSON, with the fields of a run file.
    """
    with _prepared(refresh=refresh):
        asked = asked_adapt(
            config=config,
            target_bytes=target_bytes,
            tokenizer=tokenizer,
            vocabulary_size=vocabulary_size,
            initialiser=initialiser,
            refresh=refresh,
            run=run,
        )
        main_path.adapt.fn(asked)


@flow(name="compare", flow_run_name=_run_name, persist_result=False, result_serializer="json")
def compare(
    config: CompareFile = NO_FILE,
    target_bytes: Count | None = None,
    refresh: bool = False,
    run: WholeRun | None = None,
) -> None:
    """Try tokenizers and initialisers on one model and text; end with a leaderboard.

    Stages whose outcome stands already are not run again. Suspending a run takes effect before
    its next stage; cancelling it ends the stage at work, and a retry goes on from there.

    Args:
        config: A file in the folder of run files.
        target_bytes: Bytes of text to keep for training; none: as configured.
        refresh: Look at every source again, packages and the Hub too; schedules do.
        run: In place of config: a whole comparison as JSON, with the fields of its file.
    """
    with _prepared(refresh=refresh):
        asked = asked_compare(config=config, target_bytes=target_bytes, refresh=refresh, run=run)
        comparison.compare.fn(asked)


@flow(name="evaluate", flow_run_name=_run_name, persist_result=False, result_serializer="json")
def evaluate(
    config: RunFile = NO_FILE,
    model: str = "",
    refresh: bool = False,
    run: WholeRun | None = None,
) -> None:
    """Measure a model, as it ships, on the held-out texts of a run's corpus.

    Stages whose outcome stands already are not run again. Suspending a run takes effect before
    its next stage; cancelling it ends the stage at work, and a retry goes on from there.

    Args:
        config: A file in the folder of run files.
        model: Folder of the model, as --export writes it; empty: the model the run begins from.
        refresh: Look at every source again, packages and the Hub too; schedules do.
        run: In place of config: a whole run as JSON, with the fields of a run file.
    """
    with _prepared(refresh=refresh):
        asked = asked_evaluate(config=config, model=model, refresh=refresh, run=run)
        measure.evaluate.fn(asked)


FLOWS = (adapt, compare, evaluate)


@contextmanager
def _prepared(*, refresh: bool) -> Generator[None]:
    die_with_parent()  # a worker that is killed leaves no training behind
    settings_store().check_writable()
    run_options.set(RunOptions(look_again=refresh))
    run = flow_run.get_id()
    assert run is not None  # Prefect runs these flows
    with get_client(sync_client=True) as client:
        attempt = client.read_flow_run(UUID(run)).run_count
    with noted(run, attempt):
        yield
