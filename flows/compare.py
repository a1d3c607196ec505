"""The main path over a grid of choices: shared stages once, one leaderboard in the end."""

import json
from dataclasses import dataclass, field
from itertools import pairwise

from prefect import flow

from flows.adapt import new_rows, new_tokenizer, train, train_control
from flows.compare_config import Cell, CompareConfig
from flows.prefect_report import show_leaderboard_in_prefect
from infra.artifacts import Artifact, open_artifact
from infra.live_runs import live_run
from infra.parquet import read_table
from tasks.corpus.task import lock_corpus, sample_corpus
from tasks.evaluation.config import Contestant, LeaderboardConfig
from tasks.evaluation.task import measure_model, write_leaderboard
from tasks.model.task import assemble_model, export_model, import_model, lock_model
from tasks.pretraining.config import PretrainingConfig
from tasks.pretraining.flops import equal_flops
from tasks.pretraining.task import tokenize_corpus
from tasks.shared.causality import check_causal_summary
from tasks.shared.model_shape import model_shape
from tasks.shared.run_options import PlannedStage, once_a_run, run_options


@dataclass
class Measures:
    """Models measured so far, and who they are."""

    contestants: list[Contestant] = field(default_factory=list)
    artifacts: list[Artifact] = field(default_factory=list)

    def add(self, contestant: Contestant, measured: Artifact) -> None:
        """Note one more."""
        self.contestants.append(contestant)
        self.artifacts.append(measured)


@flow(name="compare", persist_result=False, result_serializer="json")
@live_run()
@once_a_run()
def compare(grid: CompareConfig) -> Artifact:
    """Try every initialiser with every tokenizer, beside the source model and its controls."""
    source = import_model(grid.model, lock_model(grid.model))
    check_causal_summary(source.summary)
    corpus = sample_corpus(grid.corpus, lock_corpus(grid.corpus))
    measures = Measures()
    measures.add(
        Contestant(name="source", kind="source"), measure_model(grid.evaluation, source, corpus)
    )
    if grid.pretraining is not None:
        for seed in grid.seeds:
            _control_at_equal_bytes(grid, seed, source, corpus, measures)
    for name in grid.tokenizers:
        _try_tokenizer(grid, name, source, corpus, measures)
    board = write_leaderboard(
        LeaderboardConfig(contestants=tuple(measures.contestants)), source, *measures.artifacts
    )
    show_leaderboard_in_prefect(board)
    return board


def _try_tokenizer(
    grid: CompareConfig, name: str, source: Artifact, corpus: Artifact, measures: Measures
) -> None:
    """All cells of one tokenizer, and for each seed the control of equal cost."""
    cells = list(grid.cells(name))
    tokenizer = new_tokenizer(cells[0].run, source, corpus)
    tokens = tokenize_corpus(grid.tokens, tokenizer, corpus)
    has_control = set[int]()
    for cell in cells:
        rows = new_rows(cell.run, source, corpus, tokenizer, tokens)
        initial = assemble_model(grid.export, source, tokenizer, rows)
        untrained = cell.contestant(is_trained=False)
        measures.add(untrained, measure_model(grid.evaluation, initial, corpus))
        if grid.pretraining is None:
            continue
        trained = train(grid.training(cell.seed), initial, tokens, rows)
        model = export_model(grid.export, initial, trained, rows)
        measures.add(
            cell.contestant(is_trained=True), measure_model(grid.evaluation, model, corpus)
        )
        if cell.seed not in has_control:  # all initialisers are fed the same tokens
            has_control.add(cell.seed)
            _control_at_equal_flops(grid, cell, source, corpus, initial, trained, measures)


def _control_at_equal_bytes(
    grid: CompareConfig, seed: int, source: Artifact, corpus: Artifact, measures: Measures
) -> None:
    run = next(cell for cell in grid.cells(next(iter(grid.tokenizers))) if cell.seed == seed).run
    training = grid.control.pretraining(grid.training(seed))
    measured, _ = train_control(run, training, source, corpus)
    who = Contestant(name=f"control bytes {seed}", kind="control_bytes", seed=seed, is_trained=True)
    measures.add(who, measured)


def _control_at_equal_flops(
    grid: CompareConfig,
    cell: Cell,
    source: Artifact,
    corpus: Artifact,
    initial: Artifact,
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
    training = _equal_flops(grid.training(cell.seed), source, initial, trained)
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
