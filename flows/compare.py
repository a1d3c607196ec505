"""The main path over a grid of choices: shared stages once, one leaderboard in the end."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from prefect import flow

from flows.adapt import Initialised, initialise, new_tokenizer, train_control
from flows.compare_config import Cell, CompareConfig
from flows.prefect_report import show_leaderboard_in_prefect
from infra.artifacts import Artifact, open_artifact
from infra.parquet import read_table
from tasks.corpus.task import lock_corpus, sample_corpus
from tasks.evaluation.config import Contestant, LeaderboardConfig
from tasks.evaluation.task import measure_model, write_leaderboard
from tasks.model.task import export_model, import_model, lock_model
from tasks.pretraining.config import PretrainingConfig
from tasks.pretraining.flops import equal_flops
from tasks.pretraining.task import continue_pretraining
from tasks.shared.model_shape import model_shape
from tasks.shared.run_options import PlannedStage, run_options


@dataclass
class Measures:
    """Models measured so far, and who they are."""

    contestants: list[Contestant] = field(default_factory=list)
    artifacts: list[Artifact] = field(default_factory=list)

    def add(self, contestant: Contestant, measured: Artifact) -> None:
        """Note one more."""
        self.contestants.append(contestant)
        self.artifacts.append(measured)


@flow(name="compare", persist_result=False)
def compare(grid: CompareConfig) -> Artifact:
    """Try every initialiser with every tokenizer, beside the source model and its controls."""
    source = import_model(grid.model, lock_model(grid.model))
    corpus = sample_corpus(grid.corpus, lock_corpus(grid.corpus))
    measures = Measures()
    measures.add(
        Contestant(name="source", kind="source"), measure_model(grid.evaluation, source, corpus)
    )
    if grid.pretraining is not None:
        for seed in grid.seeds:
            _control_at_equal_bytes(grid, seed, source, corpus, measures)
    for tokenizer in grid.tokenizers:
        trained = [
            (cell, *_try(grid, cell, source, corpus, measures)) for cell in grid.cells(tokenizer)
        ]
        for cell, initial, training in _one_a_seed(trained):
            _control_at_equal_flops(grid, cell, source, corpus, initial, training, measures)
    board = write_leaderboard(
        LeaderboardConfig(contestants=tuple(measures.contestants)), source, *measures.artifacts
    )
    show_leaderboard_in_prefect(board)
    return board


def _try(
    grid: CompareConfig, cell: Cell, source: Artifact, corpus: Artifact, measures: Measures
) -> tuple[Initialised, Artifact | None]:
    """One cell: measured as initialised and, if the grid trains, after training."""
    run, name = cell.run, f"{cell.tokenizer} {cell.initialiser} {cell.seed}"
    start = initialise(run, source, corpus, new_tokenizer(run, source, corpus))
    who = {
        "kind": "swapped",
        "tokenizer": cell.tokenizer,
        "initialiser": cell.initialiser,
        "seed": cell.seed,
    }
    measures.add(
        Contestant.model_validate({"name": f"{name} untrained", **who}),
        measure_model(grid.evaluation, start.model, corpus),
    )
    if grid.pretraining is None:
        return start, None
    trained = continue_pretraining(run.pretraining, start.model, start.tokens)
    measures.add(
        Contestant.model_validate({"name": name, "is_trained": True, **who}),
        measure_model(grid.evaluation, export_model(run.export, start.model, trained), corpus),
    )
    return start, trained


def _one_a_seed(
    tried: Sequence[tuple[Cell, Initialised, Artifact | None]],
) -> list[tuple[Cell, Initialised, Artifact]]:
    """The first trained cell of each seed: all initialisers are fed the same tokens."""
    by_seed: dict[int, tuple[Cell, Initialised, Artifact]] = {}
    for cell, start, trained in tried:
        if trained is not None:
            by_seed.setdefault(cell.seed, (cell, start, trained))
    return list(by_seed.values())


def _control_at_equal_bytes(
    grid: CompareConfig, seed: int, source: Artifact, corpus: Artifact, measures: Measures
) -> None:
    run = next(cell for cell in grid.cells(next(iter(grid.tokenizers))) if cell.seed == seed).run
    training = grid.control.pretraining(run.pretraining)
    measured, _ = train_control(run, training, source, corpus)
    who = Contestant(name=f"control bytes {seed}", kind="control_bytes", seed=seed, is_trained=True)
    measures.add(who, measured)


def _control_at_equal_flops(
    grid: CompareConfig,
    cell: Cell,
    source: Artifact,
    corpus: Artifact,
    start: Initialised,
    trained: Artifact,
    measures: Measures,
) -> None:
    who = Contestant(
        name=f"control flops {cell.tokenizer} {cell.seed}", kind="control_flops",
        tokenizer=cell.tokenizer, seed=cell.seed, is_trained=True,
    )  # fmt: skip
    if not trained.is_known:
        because = f"on the cost of {cell.tokenizer}'s training"
        planned = PlannedStage("pretraining", "depends", None, because)
        measures.add(who, run_options.get().plan(planned))
        return
    training = _equal_flops(cell.run.pretraining, source, start.model, trained)
    measured, _ = train_control(cell.run, grid.control.pretraining(training), source, corpus)
    measures.add(who, measured)


def _equal_flops(
    training: PretrainingConfig, source: Artifact, initial: Artifact, trained: Artifact
) -> PretrainingConfig:
    """Budgets of the source model that cost what the swapped model's training did."""
    file = open_artifact(source, "config.json") / "config.json"
    shape = model_shape(json.loads(file.read_text(encoding="utf-8")), tied=True)
    steps = read_table(open_artifact(trained, "metrics.parquet") / "metrics.parquet")
    ends = dict(zip(steps["phase"].to_pylist(), steps["tokens"].to_pylist(), strict=True))
    totals = [0, *(ends[phase] for phase in sorted(ends))]
    fed = [end - begin for begin, end in pairwise(totals)]
    rows = (int(artifact.summary["rows"] or 0) for artifact in (initial, source))
    return equal_flops(training, fed, shape, *rows)
