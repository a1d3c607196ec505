"""Measure one model, as it ships, on a corpus."""

from prefect import flow

from flows.prefect_report import show_measures_in_prefect
from infra.artifacts import Artifact
from infra.live_runs import live_run
from tasks.corpus.config import CorpusConfig
from tasks.corpus.task import lock_corpus, sample_corpus
from tasks.evaluation.config import EvaluationConfig
from tasks.evaluation.task import measure_model
from tasks.model.config import ModelConfig
from tasks.model.task import import_model, lock_model
from tasks.shared.config import StageConfig


class MeasureConfig(StageConfig):
    """Everything that decides what measuring a model writes."""

    model: ModelConfig
    """The model to measure."""
    corpus: CorpusConfig
    """The text whose held-out part it reads."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """What is measured."""


@flow(name="evaluate", persist_result=False)
@live_run()
def evaluate(run: MeasureConfig) -> Artifact:
    """Import a model, and measure it on the held-out texts."""
    model = import_model(run.model, lock_model(run.model))
    corpus = sample_corpus(run.corpus, lock_corpus(run.corpus))
    measured = measure_model(run.evaluation, model, corpus)
    show_measures_in_prefect(measured)
    return measured
