"""Trains vectors of words on artifacts, and keeps them in one."""

from __future__ import annotations

import json
import tempfile
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from infra.artifacts import Artifact, open_artifact

if TYPE_CHECKING:
    from tasks.embedding.config_vectors import WordTraining
    from tasks.embedding.fasttext_model import FastTextModel


def train_vectors(config: WordTraining, texts: tuple[Artifact, ...]) -> FastTextModel:
    """Train on documents of corpora, one after the other, or on the lines of a locked file."""
    from infra.located_files import lay_out
    from tasks.embedding.trained_words import first_lines, train_word_model
    from tasks.embedding.worker import documents_of
    from tasks.shared.errors import named_as

    vectors = config.vectors
    of_text = {"kind", "text", "max_bytes", "seed", "max_words", "by"}
    choices = vectors.model_dump(exclude=of_text)
    if vectors.text is None:
        bounds = vectors.max_bytes, vectors.seed
        documents = chain.from_iterable(documents_of(text, *bounds) for text in texts)
        return train_word_model(documents, config.role, **choices)
    with tempfile.TemporaryDirectory(prefix="tokgraft-vectors-") as scratch:
        [row] = lay_out(open_artifact(texts[0]), Path(scratch))
        path = Path(scratch) / row["source"]
        with named_as({str(path): row["uri"]}):
            return train_word_model(first_lines(path, vectors.max_bytes), config.role, **choices)


def write_vectors(folder: Path, model: FastTextModel) -> None:
    """Write the matrix, the words with their counts, and how long n-grams are."""
    import numpy as np
    import pyarrow as pa
    import torch

    from infra.parquet import write_table
    from infra.weights import save_tensors

    matrix = torch.from_numpy(np.array(model.matrix))  # what is mapped cannot be written to
    save_tensors(folder / "vectors.safetensors", {"matrix": matrix})
    write_table(folder / "words.parquet", pa.table({"word": model.words, "count": model.counts}))
    record = {"shortest_ngram": model.shortest, "longest_ngram": model.longest}
    (folder / "vectors.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


def read_vectors(artifact: Artifact) -> FastTextModel:
    """Read what ``write_vectors`` wrote."""
    from infra.parquet import read_table
    from infra.weights import TensorFolder
    from tasks.embedding.fasttext_model import FastTextModel

    folder = open_artifact(artifact)
    words = read_table(folder / "words.parquet")
    record = json.loads((folder / "vectors.json").read_text(encoding="utf-8"))
    return FastTextModel(
        tuple(words["word"].to_pylist()),
        words["count"].to_numpy(),
        TensorFolder(folder, "vectors.safetensors").get("matrix").numpy(),
        record["shortest_ngram"],
        record["longest_ngram"],
    )
