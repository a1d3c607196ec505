"""Worker and doors without a cluster: same bits after a stop, errors before the start."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file

from infra.artifacts import Artifact, open_artifact
from infra.checkpoints import Checkpoints
from infra.errors import LeaseHeldError
from infra.lease import STALE_SECONDS, lease
from infra.parquet import read_table, write_table
from infra.ray_cluster import WorkerPlace
from infra.stages import StageCall, run_call, settings_store
from tasks.pretraining.config import (
    Budget,
    EmbeddingsPhase,
    FullPhase,
    PretrainingConfig,
    PriorRegulariser,
    TokensConfig,
)
from tasks.pretraining.errors import (
    BatchSizeError,
    BudgetError,
    NoRowsToPullError,
    SequenceLengthError,
    TokensMismatchError,
)
from tasks.pretraining.task import PRETRAINING_VERSION, continue_pretraining, tokenize_corpus
from tasks.pretraining.training_state import HISTORY, PARAMETER
from tasks.pretraining.worker import TrainingJob, check_job, train
from tasks.shared.config import key_view
from tasks.shared.determinism import compute_deterministically
from tasks.shared.model_loading import load_tokenizer

ROWS = ["model.embed_tokens.weight"]


def artifact_of(stage: str, write: Callable[[Path], Any], variant: int = 0) -> Artifact:
    def body(attempt):
        write(attempt.folder)
        return {}

    return run_call(StageCall(stage, 1, {"variant": variant}, ()), 1, body, lambda *_: None)


def copy_of(folder: Path) -> Artifact:
    return artifact_of("model", lambda place: shutil.copytree(folder, place, dirs_exist_ok=True))


def corpus_of(texts: list[str]) -> Artifact:
    def write(folder: Path) -> None:
        for number, part in enumerate((texts[:100], texts[100:])):
            columns = {
                "doc_id": [f"{number}-{i}" for i in range(len(part))],
                "text": part,
                "n_bytes": [len(text.encode()) for text in part],
            }
            write_table(folder / f"train-{number:05d}.parquet", pa.table(columns))

    return artifact_of("corpus", write)


@pytest.fixture
def model(tiny_model_folder: Path) -> Artifact:
    return copy_of(tiny_model_folder)


@pytest.fixture
def tokens(model: Artifact, small_corpus_texts: list[str]) -> Artifact:
    return tokenize_corpus(TokensConfig(), model, corpus_of(small_corpus_texts))


def config_of(**changed: Any) -> PretrainingConfig:
    """Two phases of 4 and 6 steps; a checkpoint every 2."""
    budget = Budget(unit="tokens", amount=256)
    phases = (
        EmbeddingsPhase(budget=budget, warmup=0),
        FullPhase(budget=Budget(unit="tokens", amount=384), warmup=0.5),
    )
    fields = {
        "phases": phases, "sequence_length": 16, "global_batch_tokens": 64,
        "checkpoint_every_steps": 2,
    }  # fmt: skip
    return PretrainingConfig(**{**fields, **changed})


def job_of(config: PretrainingConfig, model: Artifact, tokens: Artifact) -> TrainingJob:
    """The job that the door would make, so that the door finds what it left."""
    call = StageCall("pretraining", PRETRAINING_VERSION, key_view(config), (model, tokens))
    store = settings_store()
    return TrainingJob(
        config=config, model=model, tokens=tokens, store_root=store.root,
        checkpoints_path=f"pretraining/{call.key}/checkpoints/1",
    )  # fmt: skip


def train_here(job: TrainingJob, stop_after: int | None = None) -> None:
    """Train in this process; ``stop_after`` raises as a kill would end it."""

    def report(record: dict[str, Any]) -> None:
        if record["step"] == stop_after:
            raise KeyboardInterrupt

    train(job, WorkerPlace(0, 1, "cpu", report))


def state_of(job: TrainingJob) -> dict[str, torch.Tensor]:
    newest = Checkpoints(settings_store(), job.checkpoints_path).newest()
    assert newest is not None
    with newest.open() as reader:
        measured = (f"{HISTORY}seconds", f"{HISTORY}peak_rss_bytes")
        return {n: reader.read(n) for n in newest.names() if n not in measured}


def test_token_shards_hold_the_text_and_nothing_else(
    model: Artifact, tokens: Artifact, small_corpus_texts: list[str]
):
    folder = open_artifact(tokens)
    tokenizer = load_tokenizer(open_artifact(model))
    rows = [r for p in sorted(folder.glob("tokens-*")) for r in read_table(p).to_pylist()]
    assert [tokenizer.decode(row["ids"]) for row in rows] == small_corpus_texts
    assert [row["n_bytes"] for row in rows] == [len(t.encode()) for t in small_corpus_texts]
    counts = read_table(folder / "counts.parquet")
    expected = np.bincount(np.concatenate([row["ids"] for row in rows]), minlength=len(counts))
    np.testing.assert_array_equal(counts["count"].to_numpy(), expected)
    assert tokens.summary["tokens"] == expected.sum()


def test_a_special_token_named_in_a_text_is_text(model: Artifact):
    text = "documents end with <|endoftext|> here"
    shards = tokenize_corpus(TokensConfig(), model, corpus_of([text]))
    ids = read_table(open_artifact(shards) / "tokens-00000.parquet")["ids"][0].as_py()
    assert 0 not in ids


@pytest.mark.parametrize("step", [3, 7])
def test_stopped_in_either_phase_it_ends_with_the_same_bits(model, tokens, step: int):
    whole = job_of(config_of(), model, tokens)
    stopped = whole.model_copy(update={"checkpoints_path": "pretraining/other/checkpoints/1"})
    train_here(whole)
    with pytest.raises(KeyboardInterrupt):
        train_here(stopped, stop_after=step)
    train_here(stopped)
    expected, found = state_of(whole), state_of(stopped)
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0, equal_nan=True)


def lineage_of(methods: dict[int, str], n_tokens: int) -> Artifact:
    """An embedding stage's account of its rows, copied but for some."""
    ids = [*range(n_tokens)] * 2
    columns = {
        "id": ids,
        "part": ["input"] * n_tokens + ["head"] * n_tokens,
        "method": [methods.get(i, "copied") for i in ids[:n_tokens]] + ["prefix_prior"] * n_tokens,
    }
    return artifact_of(
        "embedding", lambda folder: write_table(folder / "lineage.parquet", pa.table(columns))
    )


@pytest.mark.parametrize("step", [3, 7])
def test_a_resumed_prior_pulls_to_where_the_rows_started(model, tokens, step: int):
    embedding = lineage_of({40: "composed", 41: "tool_text"}, 500)
    config = config_of(prior_regulariser=PriorRegulariser(strength=10.0, rows="new"))
    whole = job_of(config, model, tokens).model_copy(update={"embedding": embedding})
    stopped = whole.model_copy(update={"checkpoints_path": "pretraining/other/checkpoints/1"})
    assert check_job(whole, 1) == 10
    train_here(whole)
    with pytest.raises(KeyboardInterrupt):
        train_here(stopped, stop_after=step)
    train_here(stopped)
    expected, found = state_of(whole), state_of(stopped)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0, equal_nan=True)
    penalties = expected[f"{HISTORY}prior_penalty"]
    assert penalties[0] == 0
    assert (penalties[1:] > 0).all()


def test_a_prior_without_rows_of_its_own_is_refused(model, tokens):
    config = config_of(prior_regulariser=PriorRegulariser(strength=1.0, rows="tools"))
    job = job_of(config, model, tokens)
    with pytest.raises(NoRowsToPullError, match="has its own tokenizer"):
        check_job(job, 1)
    with pytest.raises(NoRowsToPullError, match="none of 500 tokens has one"):
        check_job(job.model_copy(update={"embedding": lineage_of({}, 500)}), 1)


def test_the_door_writes_what_was_trained(model, tokens, tiny_model_folder: Path):
    config = config_of()
    job = job_of(config, model, tokens)
    train_here(job)
    trained = continue_pretraining(config, model, tokens)  # nothing is left to do: no cluster
    folder = open_artifact(trained)
    before = load_file(tiny_model_folder / "model.safetensors")
    after = load_file(folder / "weights-00001.safetensors")
    assert after.keys() == before.keys()
    assert {t.dtype for t in after.values()} == {torch.float32}
    metrics = read_table(folder / "metrics.parquet").to_pydict()
    assert metrics["step"] == list(range(1, 11))
    assert metrics["phase"] == [1] * 4 + [2] * 6
    assert metrics["tokens"] == [64 * step for step in range(1, 11)]
    assert metrics["lr_head"] == metrics["prior_penalty"] == [None] * 10  # tied, no prior
    assert metrics["lr_body"][:4] == [None] * 4
    assert trained.summary["bytes"] == metrics["bytes"][-1]
    assert read_table(folder / "timings.parquet").column_names == [
        "step", "tokens_per_second", "seconds", "peak_rss_bytes"
    ]  # fmt: skip


def test_a_frozen_body_is_not_written(model, tokens):
    phases = (EmbeddingsPhase(budget=Budget(unit="tokens", amount=128)),)
    config = config_of(phases=phases)
    job = job_of(config, model, tokens)
    train_here(job)
    folder = open_artifact(continue_pretraining(config, model, tokens))
    assert list(load_file(folder / "weights-00001.safetensors")) == ROWS
    stored = state_of(job)
    assert [n for n in stored if n.startswith(PARAMETER)] == [f"{PARAMETER}{ROWS[0]}"]


def test_what_cannot_work_is_told_before_the_workers_start(model, tokens):
    job = job_of(config_of(), model, tokens)
    assert check_job(job, 2) == 10
    with pytest.raises(BatchSizeError, match="4 sequences"):
        check_job(job, 3)
    beyond = config_of(sequence_length=512, global_batch_tokens=512)
    with pytest.raises(SequenceLengthError, match=r"512 is longer .* 256 tokens"):
        check_job(job.model_copy(update={"config": beyond}), 1)
    greedy = config_of(phases=(FullPhase(budget=Budget(unit="bytes", amount=10**9)),))
    with pytest.raises(BudgetError, match="larger corpus"):
        check_job(job.model_copy(update={"config": greedy}), 1)


def test_shards_of_another_tokenizer_are_refused(model, tokens):
    def write(folder: Path) -> None:
        ids = pa.array([[1, 60_000]], pa.list_(pa.uint32()))
        write_table(folder / "tokens-00000.parquet", pa.table({"ids": ids, "n_bytes": [8]}))

    job = job_of(config_of(), model, artifact_of("tokens", write))
    with pytest.raises(TokensMismatchError, match="id 60000"):
        check_job(job, 1)


def test_a_second_trainer_of_the_same_run_is_refused(model, tokens):
    config = config_of()
    job = job_of(config, model, tokens)
    held = lease(settings_store(), f"{job.checkpoints_path}/lease.json")
    with held, pytest.raises(LeaseHeldError, match="is held by process"):
        continue_pretraining(config, model, tokens)


def test_a_trainer_whose_container_was_restarted_waits_for_its_own_lease(model, tokens):
    config = config_of()
    job = job_of(config, model, tokens)
    train_here(job)
    before = {"owner": "o", "host": "elsewhere", "pid": 1, "process_started": "1"}
    record = {**before, "heartbeat": time.time() - STALE_SECONDS + 2}
    settings_store().write(f"{job.checkpoints_path}/lease.json", json.dumps(record).encode())
    assert continue_pretraining(config, model, tokens).summary["steps"] == 10


def test_a_damaged_checkpoint_costs_its_steps_and_no_bit(model, tokens):
    whole = job_of(config_of(), model, tokens)
    other = whole.model_copy(update={"checkpoints_path": "pretraining/other/checkpoints/1"})
    train_here(whole)
    with pytest.raises(KeyboardInterrupt):
        train_here(other, stop_after=9)
    store = settings_store()
    left = Checkpoints(store, other.checkpoints_path)
    assert left.steps() == [6, 8]
    file = f"{other.checkpoints_path}/step-00000008/rank-00000.safetensors"
    store.write(file, store.read(file)[:-1] + b"?")
    train_here(other)
    assert left.steps() == [10]
    expected, found = state_of(whole), state_of(other)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_deterministic_mode_leaves_the_environment_as_it_was(
    device: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    was = torch.are_deterministic_algorithms_enabled()
    try:
        compute_deterministically(device)
        assert torch.are_deterministic_algorithms_enabled()
        assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
        square = torch.full((2, 2), 3.0, device=device)
        assert (square @ square).tolist() == [[18.0, 18.0]] * 2
    finally:
        torch.use_deterministic_algorithms(was)
