"""Doors of the token shards and of continued pretraining."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.artifacts import Artifact, Attempt, Summary, open_artifact
from infra.checkpoint_reading import Checkpoint, CheckpointReader
from infra.checkpoints import Checkpoints
from infra.lease import LONG_ENOUGH_SECONDS, lease
from infra.settings import get_settings
from tasks.pretraining.config import PretrainingConfig, TokensConfig
from tasks.shared.errors import InputError
from tasks.shared.task import stage

if TYPE_CHECKING:
    import numpy as np

    from tasks.pretraining.training_state import History

TOKENS_VERSION = 1
"""Raise when the shards would change for the same config and inputs."""
PRETRAINING_VERSION = 2
"""Raise when the trained weights would change for the same config and inputs."""

_SHARD_BYTES = 4 << 30


@stage(name="tokens", version=TOKENS_VERSION)
def tokenize_corpus(
    attempt: Attempt, config: TokensConfig, tokenizer: Artifact, corpus: Artifact
) -> Summary:
    """Cut the training part of the corpus; write token shards and how often each id occurs."""
    import numpy as np
    import pyarrow as pa

    from infra.parallel import map_shards
    from infra.parquet import write_table
    from tasks.shared.vocabulary import read_vocabulary

    tokenizer_folder = open_artifact(tokenizer, "*.json")
    n_ids = len(read_vocabulary(tokenizer_folder))
    sources = sorted(open_artifact(corpus, "train-*.parquet").glob("train-*.parquet"))
    shards = [
        (str(source), str(attempt.folder / source.name.replace("train-", "tokens-")), n_ids,
         str(tokenizer_folder))
        for source in sources
    ]  # fmt: skip
    counts = np.zeros(n_ids, np.int64)
    n_bytes = n_documents = 0
    for done, (of_shard, shard_bytes, shard_documents) in enumerate(
        map_shards(_tokenize_shard, shards), start=1
    ):
        counts += of_shard
        n_bytes += shard_bytes
        n_documents += shard_documents
        attempt.progress(done, len(shards), f"{n_bytes / 1e6:.1f} MB of text cut")
    ids = np.arange(n_ids, dtype=np.int32)
    write_table(attempt.folder / "counts.parquet", pa.table({"id": ids, "count": counts}))
    n_tokens = int(counts.sum())
    return {
        "documents": n_documents,
        "tokens": n_tokens,
        "bytes": n_bytes,
        "bytes_per_token": n_bytes / n_tokens if n_tokens else None,
    }


def _tokenize_shard(shard: tuple[str, str, int, str]) -> tuple[np.ndarray, int, int]:
    """Cut one file; returns counts by id, bytes and documents."""
    import numpy as np

    from infra.parquet import TableWriter, iter_batches
    from tasks.pretraining.token_shards import SCHEMA, count_ids, encode_documents
    from tasks.shared.model_loading import load_tokenizer

    source, target, n_ids, tokenizer_folder = shard
    tokenizer = load_tokenizer(Path(tokenizer_folder))
    counts = np.zeros(n_ids, np.int64)
    n_bytes = n_documents = 0
    with TableWriter(Path(target), SCHEMA) as writer:
        for batch in iter_batches([Path(source)], ["doc_id", "text", "n_bytes"], batch_rows=512):
            cut = encode_documents(tokenizer, batch)
            writer.write(cut)
            counts += count_ids(cut, n_ids)
            n_bytes += int(np.sum(batch.column("n_bytes").to_numpy()))
            n_documents += batch.num_rows
    return counts, n_bytes, n_documents


@stage(name="pretraining", version=PRETRAINING_VERSION, volatile=("timings.parquet",))
def continue_pretraining(
    attempt: Attempt,
    config: PretrainingConfig,
    model: Artifact,
    tokens: Artifact,
    *embedding: Artifact,
) -> Summary:
    """Train the model on the token shards; write the trained parameters and every step's metrics.

    ``embedding`` is where the rows of a new tokenizer come from; only a prior on them reads it.

    ``weights-*.safetensors`` holds the parameters that some phase trained, in float32 under the
    model's own names, a tied head once; all others are those of ``model``.
    """
    from infra.ray_cluster import run_training
    from tasks.pretraining.worker import TrainingJob, check_job, run

    job = TrainingJob(
        config=config, model=model, tokens=tokens, store_root=attempt.store.root,
        checkpoints_path=attempt.checkpoints_path, embedding=embedding[0] if embedding else None,
    )  # fmt: skip
    settings = get_settings()
    n_steps = check_job(job, settings.world_size)
    checkpoints = Checkpoints(attempt.store, attempt.checkpoints_path)
    lease_path = f"{attempt.checkpoints_path}/lease.json"

    def tell(text: str) -> None:
        attempt.progress(0, n_steps, text)

    with lease(attempt.store, lease_path, LONG_ENOUGH_SECONDS, tell) as held:
        results = _results(attempt.folder, checkpoints, n_steps, config.global_batch_tokens)
        if results is None:
            newest = checkpoints.newest()
            attempt.progress(newest.step if newest else 0, n_steps, "starting the workers")
            show = _Progress(attempt, config.global_batch_tokens)
            payload = job.model_dump(mode="json")
            run_training(
                run, payload, settings, attempt.name, show,
                final_errors=(InputError,), why_stop=held.lost,
            )  # fmt: skip
            results = _results(attempt.folder, checkpoints, n_steps, config.global_batch_tokens)
        if results is None:
            raise RuntimeError(f"training ended without a checkpoint of step {n_steps}")
        return results


class _Progress:
    """Turns the workers' reports into a line for people."""

    def __init__(self, attempt: Attempt, tokens_a_step: int) -> None:
        self._attempt = attempt
        self._tokens_a_step = tokens_a_step
        self._seconds = 0.0

    def __call__(self, report: dict[str, Any]) -> None:
        seconds, step, n_steps = report["seconds"], report["step"], report["n_steps"]
        # A moving average: single steps differ by a checkpoint or by other work on the machine.
        self._seconds = 0.9 * self._seconds + 0.1 * seconds if self._seconds else seconds
        minutes = (n_steps - step) * self._seconds / 60
        self._attempt.progress(
            step,
            n_steps,
            f"step {step}/{n_steps}, {self._tokens_a_step / self._seconds:,.0f} tokens/s, "
            f"loss {report['loss']:.3f}, {report['bits_per_byte']:.3f} bits/byte, "
            f"{minutes:.1f} min left",
        )


def _results(
    folder: Path, checkpoints: Checkpoints, n_steps: int, tokens_a_step: int
) -> Summary | None:
    """Write what the last step left; None where it is still to be reached, or was damaged."""
    if (newest := checkpoints.newest()) is None or newest.step < n_steps:
        return None
    with checkpoints.open_newest() as opened:
        if opened is None or opened[0].step < n_steps:
            return None
        return _write_results(folder, *opened, tokens_a_step)


def _write_results(
    folder: Path, final: Checkpoint, reader: CheckpointReader, tokens_a_step: int
) -> Summary:
    import pyarrow as pa

    from infra.parquet import write_table
    from infra.weights import save_tensors
    from tasks.pretraining.training_state import HISTORY, PARAMETER, History

    history = History.from_tensors({n: reader.read(n) for n in final.names(HISTORY)})
    for number, names in enumerate(_shards(final), start=1):
        tensors = {name.removeprefix(PARAMETER): reader.read(name) for name in names}
        save_tensors(folder / f"weights-{number:05d}.safetensors", tensors)
    columns = history.columns()
    measured = {name: columns.pop(name) for name in ("seconds", "peak_rss_bytes")}
    write_table(folder / "metrics.parquet", pa.table(_metrics_columns(columns)))
    speeds = [tokens_a_step / seconds for seconds in history.seconds]
    write_table(
        folder / "timings.parquet",
        pa.table({"step": columns["step"], "tokens_per_second": speeds, **measured}),
    )
    return _summary(history, tokens_a_step) | {"compute_dtype": final.record["compute_dtype"]}


def _metrics_columns(columns: dict[str, Any]) -> dict[str, Any]:
    import pyarrow as pa

    whole = ("step", "phase", "tokens", "bytes")
    return {
        name: pa.array(values, pa.int64() if name in whole else pa.float64())
        for name, values in columns.items()
    }


def _shards(final: Checkpoint) -> Iterator[list[str]]:
    """Names of the trained parameters, in groups that fit one file."""
    from tasks.pretraining.training_state import PARAMETER

    group: list[str] = []
    n_bytes = 0
    for name in final.names(PARAMETER):
        size = 4 * final.n_elements(name)
        if group and n_bytes + size > _SHARD_BYTES:
            yield group
            group, n_bytes = [], 0
        group.append(name)
        n_bytes += size
    yield group


def _summary(history: History, tokens_a_step: int) -> Summary:
    last = history.steps[-1]
    return {
        "steps": last.step,
        "tokens": last.tokens,
        "bytes": last.bytes,
        "final_loss": last.loss,
        "final_bits_per_byte": last.bits_per_byte,
        "tokens_per_second": tokens_a_step * len(history.seconds) / sum(history.seconds),
        "peak_rss_bytes": max(history.peak_rss_bytes),
    }
