"""Artifacts that the embedding stage reads, made of any model and tokenizer, and what it wrote."""

import json
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from bpe_continue import continue_training
from safetensors.torch import load_file
from tokenizers import Tokenizer

from infra.artifacts import Artifact, open_artifact
from infra.parquet import write_table
from infra.stages import StageCall, run_call
from tasks.embedding.config import EmbeddingConfig
from tasks.embedding.config_base import PrefixPrior
from tasks.embedding.config_source import Composed, MeanOfPieces
from tasks.embedding.task import initialise_embeddings, lock_embedding_files
from tasks.model.config import ExportConfig
from tasks.model.task import assemble_model
from tasks.shared.extra_tokens import ExtraTokens, write_extra_tokens

MEAN = EmbeddingConfig(initialiser=MeanOfPieces())
# A random model's hidden states agree on nothing; here only the path counts.
COMPOSED = EmbeddingConfig(
    initialiser=Composed(),
    prefix_prior=PrefixPrior(
        direction_positions=512, direction_window_tokens=32, max_direction_spread=1e6
    ),
)

NUMBERS = count()


def artifact_of(stage: str, write: Callable[[Path], None]) -> Artifact:
    def body(attempt):
        write(attempt.folder)
        return {}

    call = StageCall(stage, 1, {"number": next(NUMBERS)}, ())
    return run_call(call, 1, body, lambda done, total, text: None)


class Inputs:
    """Artifacts the stage reads, made of a model folder and a tokenizer."""

    def __init__(
        self,
        folder: Path,
        tokenizer: Tokenizer,
        texts: list[str],
        extra: ExtraTokens | None = None,
    ) -> None:
        self.folder = folder
        self.n_tokens = tokenizer.get_vocab_size()
        ids = [e.ids for e in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
        counts = np.bincount([i for one in ids for i in one], minlength=self.n_tokens)
        table = pa.table({"id": np.arange(self.n_tokens, dtype=np.int32), "count": counts})
        corpus = pa.table({"text": texts, "n_bytes": [len(t.encode()) for t in texts]})

        def write_tokenizer(place: Path) -> None:
            tokenizer.save(str(place / "tokenizer.json"))
            shutil.copy(folder / "tokenizer_config.json", place)
            write_extra_tokens(place, extra or ExtraTokens())

        def write_tokens(place: Path) -> None:
            write_table(place / "counts.parquet", table)
            shard = pa.table({"ids": pa.array(ids, pa.list_(pa.uint32()))})
            write_table(place / "tokens-00000.parquet", shard)

        self.model = artifact_of("model", lambda p: shutil.copytree(folder, p, dirs_exist_ok=True))
        self.tokenizer = artifact_of("tokenizer", write_tokenizer)
        self.tokens = artifact_of("tokens", write_tokens)
        self.corpus = artifact_of(
            "corpus", lambda p: write_table(p / "train-00000.parquet", corpus)
        )

    def initialise(self, config: EmbeddingConfig, *others: Artifact) -> Artifact:
        files = config.initialiser.outside_files
        locks = [] if files is None else [lock_embedding_files(files)]
        inputs = self.model, self.tokenizer, self.tokens, self.corpus
        return initialise_embeddings(config, *inputs, *others, *locks)


def rows_of(artifact: Artifact) -> tuple[dict[str, torch.Tensor], dict]:
    folder = open_artifact(artifact)
    record = json.loads((folder / "embedding.json").read_text())
    return load_file(folder / "embeddings.safetensors"), record


def extended(folder: Path, texts: list[str], n_new: int = 60) -> Tokenizer:
    base = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return continue_training(
        base, vocab_size=base.get_vocab_size() + n_new, texts=texts, show_progress=False
    )


def assembled(inputs: Inputs, embedding: Artifact, multiple: int = 1) -> Path:
    export = ExportConfig(pad_rows_to_multiple_of=multiple)
    return open_artifact(assemble_model(export, inputs.model, inputs.tokenizer, embedding))
