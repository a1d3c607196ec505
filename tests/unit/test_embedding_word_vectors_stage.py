"""Vectors of words in a stage of their own: what fastText made, once for all that read it."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from infra.artifacts import Artifact
from infra.parquet import write_table
from infra.stages import StageCall, run_call
from tasks.embedding.config import EmbeddingConfig
from tasks.embedding.config_vectors import TrainedVectors, WordTraining, training_of
from tasks.embedding.task import lock_embedding_files, train_word_vectors
from tasks.embedding.trained_words import train_word_model
from tasks.embedding.vectors_worker import read_vectors

ENGLISH = ["The program reads the file.", "The file names a directory, and the program ends."] * 9
GERMAN = ["Das Programm liest die Datei.", "Die Datei nennt ein Verzeichnis."] * 9
CHOICES = {"dimensions": 6, "epochs": 2, "min_count": 2, "n_buckets": 300}


def corpus_of(texts: list[str]) -> Artifact:
    def write(attempt):
        table = pa.table({"text": texts, "n_bytes": [len(text.encode()) for text in texts]})
        write_table(attempt.folder / "train-00000.parquet", table)
        return {}

    call = StageCall("corpus", 1, {"texts": texts}, ())
    return run_call(call, 1, write, lambda done, total, text: None)


@pytest.mark.skipif(find_spec("fasttext") is None, reason="needs the extra vectors")
def test_what_is_read_is_what_was_trained(tmp_path: Path):
    [training] = training_of(TrainedVectors(**CHOICES), "vectors", "source", "target")
    artifact = train_word_vectors(training, corpus_of(ENGLISH), corpus_of(GERMAN))
    assert artifact.summary["role"] == "vectors"
    others = {"window_words": 5, "n_negatives": 10, "max_ngram_characters": 6}
    expected = train_word_model([*ENGLISH, *GERMAN], "vectors", **CHOICES, **others)
    found = read_vectors(artifact)
    assert found.words == expected.words
    np.testing.assert_array_equal(found.counts, expected.counts)
    texts = ["Datei", "file", "Dateiname", "q", ""]
    np.testing.assert_array_equal(found.vectors(texts), expected.vectors(texts))

    path = tmp_path / "both.txt"
    path.write_text("\n".join([*ENGLISH, *GERMAN]) + "\n")
    of_file = TrainedVectors(text=str(path), **CHOICES)
    [training] = training_of(of_file, "vectors", "source", "target")
    files = training.outside_files
    assert files is not None
    again = train_word_vectors(training, lock_embedding_files(files))
    assert again.digest == artifact.digest


def test_how_vectors_are_read_later_is_no_part_of_their_training():
    read = TrainedVectors(by="words", max_words=10, **CHOICES)
    assert training_of(read, "v", "source") == training_of(TrainedVectors(**CHOICES), "v", "source")
    longer = TrainedVectors(**CHOICES | {"epochs": 3})
    assert training_of(longer, "v") != training_of(TrainedVectors(**CHOICES), "v")


def test_a_method_names_the_text_that_its_vectors_need():
    def trainings(initialiser: dict[str, object]) -> list[tuple[str, tuple[str, ...]]]:
        method = EmbeddingConfig.model_validate({"initialiser": initialiser}).initialiser
        assert method.needs_source_corpus is any("source" in t.sides for t in method.word_trainings)
        return [(training.role, training.sides) for training in method.word_trainings]

    given, trained = {"kind": "words", "path": "v.vec"}, {"kind": "trained"}
    wechsel = {"method": "wechsel", "dictionary": {"path": "d.tsv"}}
    assert trainings({**wechsel, "source_vectors": given, "target_vectors": trained}) == [
        ("target_vectors", ("target",))
    ]
    of_file = {"kind": "trained", "text": "t.txt"}
    assert trainings({**wechsel, "source_vectors": of_file, "target_vectors": given}) == [
        ("source_vectors", ())
    ]
    for method in ("ofa", "hyperofa"):
        assert trainings({"method": method, "vectors": trained}) == [
            ("vectors", ("source", "target"))
        ]
        assert trainings({"method": method, "vectors": given}) == []
    assert isinstance(training_of(TrainedVectors(), "v")[0], WordTraining)
