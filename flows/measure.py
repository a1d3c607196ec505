"""Measure one model, as it ships, on a corpus."""

from prefect import flow

from flows.measure_config import MeasureConfig
from flows.prefect_report import show_measures_in_prefect
from infra.artifacts import Artifact
from infra.live_runs import live_run
from tasks.corpus.task import lock_corpus, sample_corpus
from tasks.evaluation.task import measure_model
from tasks.model.task import import_model, lock_model
from tasks.shared.causality import check_causal_summary


@flow(name="evaluate", persist_result=False, result_serializer="json")
@live_run()
def evaluate(run: MeasureConfig) -> Artifact:
    """Import a model, and measure it on the held-out texts."""
    model = import_model(run.model, lock_model(run.model))
    check_causal_summary(model.summary)
    corpus = sample_corpus(run.corpus, lock_corpus(run.corpus))
    measured = measure_model(run.evaluation, model, corpus)
    show_measures_in_prefect(measured)
    return measured
