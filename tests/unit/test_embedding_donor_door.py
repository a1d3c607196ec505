"""Rows by way of text or a donor model, from artifacts to artifacts."""

import shutil
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import pytest
import torch
from embedding_inputs import Inputs, artifact_of, extended, rows_of
from small_models import small_model, stored

from infra.artifacts import open_artifact
from infra.parquet import read_table
from tasks.embedding.anchors import DonorLacksTokensError
from tasks.embedding.config import EmbeddingConfig
from tasks.embedding.config_donor import Interpolation, LeastSquares, Omp
from tasks.embedding.config_text import Align, Focus, TokAlign, TokenDistillation, TokenVectors
from tasks.embedding.task import initialise_embeddings

VECTORS = TokenVectors(dimensions=8, epochs=1, min_count=1, max_ngram_bytes=0, n_buckets=10)


@pytest.mark.skipif(find_spec("fasttext") is None, reason="needs the extra vectors")
@pytest.mark.parametrize(
    "method",
    [
        Focus(vectors=VECTORS),
        Align(add_pieces=True),
        TokAlign(vectors=VECTORS, n_pivots=8),
        TokenDistillation(
            head="same", start="mean_of_pieces", n_steps=3, windows_per_step=2, window_tokens=32,
            compute_dtype="float32",
        ),
    ],
    ids=lambda method: method.method,
)  # fmt: skip
def test_initialisers_that_read_text_leave_old_rows_and_explain_new_ones(
    tiny_model_folder: Path, small_corpus_texts: list[str], method: Focus
):
    inputs = Inputs(
        tiny_model_folder, extended(tiny_model_folder, small_corpus_texts), small_corpus_texts
    )
    config = EmbeddingConfig(initialiser=method, fallback=("mean_of_pieces", "error"))
    artifact = inputs.initialise(config)
    rows, record = rows_of(artifact)
    old = stored(tiny_model_folder)["model.embed_tokens.weight"]
    assert record["tie_word_embeddings"]
    assert torch.equal(rows["input_rows"][: len(old)], old)
    made = rows["input_rows"][len(old) :]
    assert made.isfinite().all()
    assert made.norm(dim=1).min() > 0
    lineage = read_table(open_artifact(artifact) / "lineage.parquet").to_pylist()
    methods = {row["method"] for row in lineage if row["id"] >= len(old)}
    assert method.method in methods
    assert methods <= {method.method, "fallback"}
    if isinstance(method, TokenDistillation):
        losses = read_table(open_artifact(artifact) / "losses.parquet")["loss"].to_pylist()
        assert len(losses) == 3
        assert artifact.summary["n_trained"] > 0
    again = inputs.initialise(config.model_copy(update={"fallback_seed": 1}))
    assert torch.equal(rows_of(again)[0]["input_rows"], rows["input_rows"])


@pytest.mark.parametrize(
    ("method", "of_donor", "of_base"),
    [
        *((Omp(k=8), *tying) for tying in product(["tied", "untied"], repeat=2)),
        (Omp(k=8, normalised=True), "tied", "tied"),
        (Interpolation(k=4), "untied", "tied"),
        (LeastSquares(), "tied", "untied"),
    ],
    ids=lambda value: getattr(value, "method", value),
)
def test_a_donor_with_the_new_tokenizer_lends_its_geometry(
    method: Omp, of_donor: str, of_base: str, tiny_model_folder: Path,
    small_corpus_texts: list[str], tmp_path: Path,
):  # fmt: skip
    tokenizer = extended(tiny_model_folder, small_corpus_texts)
    donor_files = tmp_path / "tokenizer"
    donor_files.mkdir()
    tokenizer.save(str(donor_files / "tokenizer.json"))
    shutil.copy(tiny_model_folder / "tokenizer_config.json", donor_files)
    donor_folder = small_model(tmp_path / "donor", donor_files, of_donor, more_rows=4)
    base_folder = small_model(tmp_path / "base", tiny_model_folder, of_base)
    inputs = Inputs(base_folder, tokenizer, small_corpus_texts)
    donor = artifact_of("model", lambda p: shutil.copytree(donor_folder, p, dirs_exist_ok=True))
    artifact = initialise_embeddings(
        EmbeddingConfig(initialiser=method),
        *(inputs.model, inputs.tokenizer, inputs.tokens, inputs.corpus, donor),
    )
    rows, _ = rows_of(artifact)
    names = {"input_rows": "model.embed_tokens.weight", "head_rows": "lm_head.weight"}
    assert set(rows) == set(names if of_base == "untied" else ["input_rows"])
    for part, made in rows.items():
        old = stored(base_folder)[names[part]]
        assert torch.equal(made[: len(old)], old)
        assert made.isfinite().all()
        assert made.norm(dim=1).min() > 0
    lineage = read_table(open_artifact(artifact) / "lineage.parquet").to_pylist()
    assert {row["method"] for row in lineage if row["id"] >= len(old)} == {method.method}


def test_a_donor_without_the_new_tokens_is_refused(
    tiny_model_folder: Path, small_corpus_texts: list[str]
):
    inputs = Inputs(
        tiny_model_folder, extended(tiny_model_folder, small_corpus_texts), small_corpus_texts
    )
    with pytest.raises(DonorLacksTokensError, match="no row for 60 of 60 tokens"):
        initialise_embeddings(
            EmbeddingConfig(initialiser=Omp(k=8)),
            *(inputs.model, inputs.tokenizer, inputs.tokens, inputs.corpus, inputs.model),
        )
