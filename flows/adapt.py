"""The main path: one call a stage, in order."""

from dataclasses import dataclass

from prefect import flow

from flows.prefect_report import show_in_prefect
from flows.run_config import ControlConfig, RunConfig
from infra.artifacts import Artifact
from tasks.corpus.task import lock_corpus, sample_corpus
from tasks.embedding.task import initialise_embeddings
from tasks.evaluation.task import measure_model, write_report
from tasks.model.task import assemble_model, export_model, import_model, lock_model
from tasks.pretraining.task import continue_pretraining, tokenize_corpus
from tasks.tokenizer.task import count_pretokens, lock_tokenizer_files, train_tokenizer


@dataclass(frozen=True)
class Adapted:
    """What a run ends with."""

    model: Artifact
    """A folder that transformers loads."""
    report: Artifact
    """Its numbers and the page that shows them."""


@flow(name="adapt", persist_result=False)
def adapt(run: RunConfig) -> Adapted:
    """Give a pretrained model a new tokenizer, train it on, and measure what that brought."""
    source = import_model(run.model, lock_model(run.model))
    corpus = sample_corpus(run.corpus, lock_corpus(run.corpus))

    pretokens = [count_pretokens(words, source, corpus) for words in run.counted_words()]
    outside = [lock_tokenizer_files(files) for files in run.outside_files()]
    tokenizer = train_tokenizer(run.tokenizer, source, corpus, *pretokens, *outside)
    tokens = tokenize_corpus(run.tokens, tokenizer, corpus)
    rows = initialise_embeddings(run.embedding, source, tokenizer, tokens, corpus)
    initial = assemble_model(run.export, source, tokenizer, rows)
    trained = continue_pretraining(run.pretraining, initial, tokens)
    model = export_model(run.export, initial, trained)

    arms = [measure_model(run.evaluation, arm, corpus) for arm in (source, initial, model)]
    control = [] if run.control is None else train_control(run, run.control, source, corpus)
    report = write_report(
        run.report, source, corpus, tokenizer, tokens, rows, trained, *arms, *control
    )
    show_in_prefect(model, report)
    return Adapted(model, report)


def train_control(
    run: RunConfig, control: ControlConfig, source: Artifact, corpus: Artifact
) -> list[Artifact]:
    """The source model with its old tokenizer, trained on the same bytes, and its measures."""
    tokens = tokenize_corpus(run.tokens, source, corpus)
    trained = continue_pretraining(control.pretraining(run.pretraining), source, tokens)
    model = export_model(run.export, source, trained)
    return [measure_model(run.evaluation, model, corpus), trained]
