"""One run of the two doors of pretraining as its own process, which a test may kill.

Usage: python pretraining_run.py MODEL_FOLDER CONFIG_JSON. Prints the artifact's digest.
"""

import json
import random
import shutil
import sys
from pathlib import Path

import pyarrow as pa

from infra.artifacts import Artifact
from infra.parquet import write_table
from infra.stages import StageCall, run_call
from tasks.pretraining.config import PretrainingConfig, TokensConfig
from tasks.pretraining.task import continue_pretraining, tokenize_corpus

CONFIG = {
    "phases": [
        {"trainable": "embeddings", "budget": {"unit": "tokens", "amount": 640}},
        {"trainable": "all", "budget": {"unit": "bytes", "amount": 150_000}, "lr_body": 1e-3},
    ],
    "sequence_length": 32,
    "global_batch_tokens": 128,
    "checkpoint_every_steps": 10,
    "max_epochs": 5,
}
"""Two phases, to be given as CONFIG_JSON."""
WORDS = ["the", "program", "reads", "files", "and", "writes", "its", "result", "again", "twice"]


def texts() -> list[str]:
    draw = random.Random(0)
    return [" ".join(draw.choices(WORDS, k=draw.randint(5, 60))) for _ in range(300)]


def write_corpus(folder: Path) -> None:
    """Two shards of documents."""
    for number, part in enumerate((texts()[:200], texts()[200:])):
        columns = {
            "doc_id": [f"{number}-{i}" for i in range(len(part))],
            "source": ["words"] * len(part),
            "text": part,
            "n_bytes": [len(text.encode()) for text in part],
        }
        write_table(folder / f"train-{number:05d}.parquet", pa.table(columns))


def artifact_of(stage: str, write) -> Artifact:
    def body(attempt):
        write(attempt.folder)
        return {}

    return run_call(StageCall(stage, 1, {}, ()), 1, body, lambda done, total, text: None)


def inputs(model_folder: Path) -> tuple[Artifact, Artifact]:
    """Model and token shards."""
    model = artifact_of(
        "model", lambda folder: shutil.copytree(model_folder, folder, dirs_exist_ok=True)
    )
    corpus = artifact_of("corpus", write_corpus)
    return model, tokenize_corpus(TokensConfig(), model, corpus)


def main() -> None:
    config = PretrainingConfig.model_validate(json.loads(sys.argv[2]))
    artifact = continue_pretraining(config, *inputs(Path(sys.argv[1])))
    sys.stdout.write(f"digest {artifact.digest}\nuri {artifact.uri}\n")


if __name__ == "__main__":
    main()
