"""Initialisers that know words, from files outside to rows, through the doors the flow calls."""

from pathlib import Path

import numpy as np
import pytest
import torch
from lexical_files import (
    ENGLISH,
    METHODS,
    PAIRS,
    TRAINED,
    Make,
    check_rows,
    dictionary_file,
    needs_fasttext,
    prealign_of,
    wechsel_of,
)
from safetensors.torch import load_file

from infra.artifacts import open_artifact
from infra.parquet import read_table
from tasks.embedding.word_pairs import NoWordsToAlignError


@needs_fasttext
@pytest.mark.parametrize("name", METHODS)
def test_rows_are_convex_and_explained_and_come_out_the_same(
    name: str, make: Make, ran: list[str], tmp_path: Path, tiny_model_folder: Path
):
    method = METHODS[name](tmp_path)
    rows = make(method)
    check_rows(rows, tiny_model_folder, str(method["method"]))
    ran.clear()
    assert make(method).uri == rows.uri
    assert "embedding" not in ran
    other = make(method, embedding={"fallback_seed": 1})
    assert "embedding" in ran
    assert other.digest == rows.digest


def test_rows_of_a_dictionarys_words_are_trained_and_all_are_explained(
    make: Make, ran: list[str], tmp_path: Path, tiny_model_folder: Path
):
    rows, start = make(prealign_of(tmp_path)), make({"method": "mean_of_pieces"})
    old = load_file(tiny_model_folder / "model.safetensors")["model.embed_tokens.weight"]
    at = open_artifact(rows)
    new, means = (
        load_file(open_artifact(artifact) / "embeddings.safetensors")["input_rows"]
        for artifact in (rows, start)
    )
    assert torch.equal(new[: len(old)], old)
    assert new.isfinite().all()
    assert new[len(old) :].norm(dim=1).min() > 0
    assert rows.summary["n_unexplained_equal_rows"] == 0
    lineage = read_table(at / "lineage.parquet").to_pylist()[len(old) :]
    trained = [row["id"] for row in lineage if row["note"].startswith("trained to read as")]
    assert 0 < len(trained) == rows.summary["n_trained"] < len(lineage)
    for row in lineage:
        assert (row["id"] in trained) is not torch.equal(new[row["id"]], means[row["id"]])
        assert (row["id"] in trained) is not bool(row["weights"])
    assert len(read_table(at / "losses.parquet")) == 3
    ran.clear()
    again = make(prealign_of(tmp_path), embedding={"fallback_seed": 1})
    assert again.digest == rows.digest
    assert {*ran} == {"embedding_lock", "embedding"}

    turned = {"path": dictionary_file(tmp_path / "de-en.tsv", {b: a for a, b in PAIRS.items()})}
    with pytest.raises(NoWordsToAlignError, match="has the dictionary to be reversed"):
        make(prealign_of(tmp_path, dictionary=turned))
    reverse = make(prealign_of(tmp_path, dictionary={**turned, "reverse": True}))
    assert reverse.summary["n_trained"] == rows.summary["n_trained"]


def test_changed_dictionary_runs_the_embedding_alone_and_a_moved_one_nothing(
    make: Make, ran: list[str], tmp_path: Path
):
    method = wechsel_of(tmp_path)
    rows = make(method)
    ran.clear()
    moved = dictionary_file(tmp_path / "moved.tsv")
    assert make({**method, "dictionary": {"path": moved}}).uri == rows.uri
    assert ran == ["embedding_lock"]
    ran.clear()
    dictionary_file(Path(moved), PAIRS | {"contract": "Vertrag", "text": "Vertrag"})
    changed = make({**method, "dictionary": {"path": moved}})
    assert ran == ["embedding_lock", "embedding"]
    assert changed.digest != rows.digest


@needs_fasttext
def test_vectors_trained_on_the_runs_own_text_are_trained_once(
    make: Make, ran: list[str], tmp_path: Path
):
    (tmp_path / "english.txt").write_text(f"{ENGLISH}.\n" * 9)
    source = {"kind": "files", "name": "english", "paths": [str(tmp_path / "english.txt")]}
    corpus = {
        "sources": [source], "heldout_fraction": 0.0, "min_document_bytes": 20,
        "duplicate_line_min_bytes": None,
    }  # fmt: skip
    wechsel = wechsel_of(tmp_path, source_vectors=TRAINED, target_vectors=TRAINED)
    rows = make(wechsel, source_corpus=corpus)
    assert rows.summary["n_dictionary_pairs"] > 3
    assert "word_vectors" in ran
    ran.clear()
    by_words = {**TRAINED, "by": "words", "max_words": 50}
    read_otherwise = wechsel | {"source_vectors": by_words, "target_vectors": by_words}
    assert make(read_otherwise, source_corpus=corpus).digest != rows.digest
    assert {*ran} == {"corpus_lock", "embedding_lock", "embedding"}
    from_file = make(
        {**wechsel, "source_vectors": {**TRAINED, "text": str(tmp_path / "english.txt")}}
    )
    # One document or its lines: the words are the same, their neighbours at line ends are not.
    assert from_file.summary["n_dictionary_pairs"] == rows.summary["n_dictionary_pairs"]
    ofa = make({"method": "ofa", "vectors": TRAINED}, source_corpus=corpus)
    assert ofa.summary["n_needed_with_vector"] > 10


def test_ofa_in_few_dimensions_says_what_is_lost(
    make: Make, tmp_path: Path, tiny_model_folder: Path
):
    rows = make({**METHODS["ofa"](tmp_path), "rank": 4})
    assert 0.1 < rows.summary["share_of_input_kept"] < 0.9
    old = load_file(tiny_model_folder / "model.safetensors")["model.embed_tokens.weight"]
    new = load_file(open_artifact(rows) / "embeddings.safetensors")["input_rows"]
    lineage = read_table(open_artifact(rows) / "lineage.parquet").to_pylist()
    made = [row for row in lineage if row["method"] == "ofa"]
    assert {row["note"] for row in made} == {"of old rows in their 4 leading dimensions"}
    assert np.linalg.matrix_rank(new[[row["id"] for row in made]].numpy(), tol=1e-5) == 4
    assert (new[: len(old)] == old).all()
