"""The main path: one call a stage, in order."""

from dataclasses import dataclass

from prefect import flow

from flows.prefect_report import show_in_prefect, show_leaderboard_in_prefect
from flows.run_config import RunConfig
from infra.artifacts import Artifact
from infra.live_runs import live_run
from tasks.corpus.task import lock_corpus, sample_corpus
from tasks.embedding.config_vectors import WordTraining
from tasks.embedding.task import (
    initialise_embeddings,
    lock_embedding_files,
    train_word_vectors,
)
from tasks.evaluation.config import Contestant, LeaderboardConfig
from tasks.evaluation.task import measure_model, write_leaderboard, write_report
from tasks.model.task import assemble_model, export_model, import_model, lock_model
from tasks.pretraining.config import PretrainingConfig
from tasks.pretraining.task import continue_pretraining, tokenize_corpus
from tasks.shared.causality import check_causal_summary
from tasks.tokenizer.task import count_pretokens, lock_tokenizer_files, train_tokenizer


@dataclass(frozen=True)
class Adapted:
    """What a run ends with."""

    model: Artifact
    """A folder that transformers loads."""
    report: Artifact | None
    """Its numbers and the page that shows them; a leaderboard where nothing was trained. None for a
    model that cannot be measured from left to right."""


# The error of a run that failed is written whatever is said here, and pickled unless JSON is.
@flow(name="adapt", persist_result=False, result_serializer="json")
@live_run()
def adapt(run: RunConfig) -> Adapted:
    """Give a pretrained model a new tokenizer, train it on, and measure what that brought."""
    source = import_model(run.model, lock_model(run.model))
    if run.pretraining is not None:
        check_causal_summary(source.summary)
    corpus = sample_corpus(run.corpus, lock_corpus(run.corpus))

    tokenizer = new_tokenizer(run, source, corpus)
    tokens = tokenize_corpus(run.tokens, tokenizer, corpus)
    rows = new_rows(run, source, corpus, tokenizer, tokens)
    initial = assemble_model(run.export, source, tokenizer, rows)
    if run.pretraining is None:
        return untrained(run, source, initial, corpus)
    trained = train(run.pretraining, initial, tokens, rows)
    model = export_model(run.export, initial, trained, rows)

    arms = [measure_model(run.evaluation, arm, corpus) for arm in (source, initial, model)]
    if run.control is not None:
        arms += train_control(run, run.control.pretraining(run.pretraining), source, corpus)
    report = write_report(run.report, source, corpus, tokenizer, tokens, rows, trained, *arms)
    show_in_prefect(model, report)
    return Adapted(model, report)


def untrained(run: RunConfig, source: Artifact, initial: Artifact, corpus: Artifact) -> Adapted:
    """End with new rows alone, measured beside the source where the model reads left to right."""
    if source.summary.get("not_causal") is not None:
        return Adapted(initial, None)
    contestants = (
        Contestant(name="source", kind="source"),
        Contestant(
            name="untrained", kind="swapped", tokenizer=run.tokenizer.method,
            initialiser=run.embedding.initialiser.method,
        ),
    )  # fmt: skip
    arms = [measure_model(run.evaluation, arm, corpus) for arm in (source, initial)]
    board = write_leaderboard(LeaderboardConfig(contestants=contestants), source, *arms)
    show_leaderboard_in_prefect(board)
    return Adapted(initial, board)


def new_tokenizer(run: RunConfig, source: Artifact, corpus: Artifact) -> Artifact:
    """Count the corpus's words and learn a vocabulary from them, or take one from outside."""
    pretokens = [count_pretokens(words, source, corpus) for words in run.counted_words()]
    outside = [lock_tokenizer_files(files) for files in run.outside_files()]
    return train_tokenizer(run.tokenizer, source, corpus, *pretokens, *outside)


def new_rows(
    run: RunConfig, source: Artifact, corpus: Artifact, tokenizer: Artifact, tokens: Artifact
) -> Artifact:
    """Give every new token its rows, with the help of what else the run names for that."""
    others: list[Artifact] = []
    if run.donor is not None:
        others.append(import_model(run.donor, lock_model(run.donor)))
    trainings = run.embedding.initialiser.word_trainings
    others += [word_vectors(run, training, corpus) for training in trainings]
    if (files := run.embedding.initialiser.outside_files) is not None:
        others.append(lock_embedding_files(files))
    return initialise_embeddings(run.embedding, source, tokenizer, tokens, corpus, *others)


def word_vectors(run: RunConfig, training: WordTraining, corpus: Artifact) -> Artifact:
    """Train vectors of words on a file, or on the run's text in one language or both."""
    if (files := training.outside_files) is not None:
        return train_word_vectors(training, lock_embedding_files(files))
    texts = {"target": corpus}
    if "source" in training.sides and run.source_corpus is not None:
        texts["source"] = sample_corpus(run.source_corpus, lock_corpus(run.source_corpus))
    return train_word_vectors(training, *(texts[side] for side in training.sides))


def train(
    training: PretrainingConfig, initial: Artifact, tokens: Artifact, rows: Artifact
) -> Artifact:
    """Continue pretraining; a prior on new rows asks where they come from."""
    prior = [] if training.prior_regulariser is None else [rows]
    return continue_pretraining(training, initial, tokens, *prior)


def train_control(
    run: RunConfig, training: PretrainingConfig, source: Artifact, corpus: Artifact
) -> tuple[Artifact, Artifact]:
    """The source model with its old tokenizer, trained on: its measures and its training."""
    tokens = tokenize_corpus(run.tokens, source, corpus)
    trained = continue_pretraining(training, source, tokens)
    model = export_model(run.export, source, trained)
    return measure_model(run.evaluation, model, corpus), trained
