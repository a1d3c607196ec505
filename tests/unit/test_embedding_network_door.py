"""Rows made by trained networks, from artifacts to artifacts."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from embedding_inputs import COMPOSED, MEAN, Inputs, extended, rows_of
from safetensors.torch import load_file, save_file
from small_models import stored

from infra.artifacts import open_artifact, read_artifact
from infra.keys import file_sha256
from infra.parquet import read_table
from tasks.embedding.config import EmbeddingConfig
from tasks.embedding.config_learned import (
    HiddenStates,
    Hypernetwork,
    HyperOfa,
    NetworkFile,
    NextToken,
    TrainedNetwork,
)
from tasks.embedding.config_vectors import WordVectorFile
from tasks.embedding.network_file import NetworkFileError


def network(**choices: object) -> TrainedNetwork:
    few = {"hidden": 16, "n_steps": 3, "windows_per_step": 2, "window_tokens": 32}
    return TrainedNetwork.model_validate(few | {"compute_dtype": "float32"} | choices)


@pytest.mark.parametrize(
    ("head", "choices", "untied"),
    [
        ("same", {"loss": NextToken(n_negatives=20)}, False),
        ("untied", {"loss": NextToken(n_negatives=20), "max_pieces": 2}, True),
        ("first_piece", {"loss": HiddenStates(n_body_layers=1)}, False),
        ("first_piece", {"loss": NextToken(n_negatives=20), "min_merge_share": 0.0}, True),
    ],
)
def test_a_network_makes_rows_and_makes_them_again(
    head: str, choices: dict, untied: bool, tiny_model_folder: Path,
    tiny_untied_model_folder: Path, small_corpus_texts: list[str],
):  # fmt: skip
    folder = tiny_untied_model_folder if untied else tiny_model_folder
    inputs = Inputs(folder, extended(folder, small_corpus_texts), small_corpus_texts)
    trained = Hypernetwork(head=head, network=network(**choices))
    artifact = inputs.initialise(EmbeddingConfig(initialiser=trained))
    rows, record = rows_of(artifact)
    assert record["tie_word_embeddings"] is (head == "same" and not untied)
    old = stored(folder)["model.embed_tokens.weight"]
    means, _ = rows_of(inputs.initialise(MEAN))
    for part in rows.values():
        assert part[len(old) :].isfinite().all()
        assert part[len(old) :].norm(dim=1).min() > 0
    assert torch.equal(rows["input_rows"][: len(old)], old)
    assert (rows["input_rows"][len(old) :] != means["input_rows"][len(old) :]).any(dim=1).all()
    at = open_artifact(artifact)
    about = json.loads((at / "network.json").read_text())
    assert about["model_digest"] == inputs.model.digest
    assert about["shape"]["n_sides"] == (2 if untied and head == "untied" else 1)
    assert len(read_table(at / "losses.parquet")) == 3
    last = read_table(at / "lineage.parquet").to_pylist()[len(old)]
    assert (last["method"], sum(last["weights"])) == ("hypernetwork", pytest.approx(1.0))
    assert last["note"] == "plus what a network adds to the mean of its pieces"

    shares = {
        float(name.removeprefix("text_loss_at_share_")): loss
        for name, loss in artifact.summary.items()
        if name.startswith("text_loss_at_share_")
    }
    assert len(shares) == 5
    assert artifact.summary["linear_share"] == min(shares, key=lambda share: shares[share])

    given = NetworkFile(path=str(at / "network.safetensors"))
    again = inputs.initialise(EmbeddingConfig(initialiser=Hypernetwork(head=head, network=given)))
    assert torch.equal(rows_of(again)[0]["input_rows"], rows["input_rows"])
    assert not (open_artifact(again) / "network.safetensors").exists()


def test_a_network_serves_a_fine_tuned_variant_of_its_model(
    tiny_model_folder: Path, small_corpus_texts: list[str], tmp_path: Path
):
    tokenizer = extended(tiny_model_folder, small_corpus_texts)
    inputs = Inputs(tiny_model_folder, tokenizer, small_corpus_texts)
    trained = Hypernetwork(head="same", network=network())
    base = inputs.initialise(EmbeddingConfig(initialiser=trained))
    path = open_artifact(base) / "network.safetensors"

    folder = shutil.copytree(tiny_model_folder, tmp_path / "variant")
    tensors = load_file(folder / "model.safetensors")
    old = tensors["model.embed_tokens.weight"]
    noise = torch.randn(old.shape, generator=torch.manual_seed(0))
    tensors["model.embed_tokens.weight"] = tuned = old + 0.01 * old.std() * noise
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    given = Hypernetwork(head="same", network=NetworkFile(path=str(path)))
    variant = Inputs(folder, tokenizer, small_corpus_texts).initialise(
        EmbeddingConfig(initialiser=given)
    )

    of_base, of_variant = (rows_of(one)[0]["input_rows"] for one in (base, variant))
    assert torch.equal(of_variant[: len(old)], tuned)
    moved = (of_variant - of_base)[len(old) :].norm(dim=1) / of_base[len(old) :].norm(dim=1)
    assert 0 < moved.min() <= moved.max() < 0.05
    made_from = json.loads((open_artifact(variant) / "manifest.json").read_text())["inputs"]
    [lock] = [one["uri"] for one in made_from if one["stage"] == "embedding_lock"]
    read = read_table(open_artifact(read_artifact(lock)) / "lock.parquet")["sha256"].to_pylist()
    assert read == [file_sha256(path)]


def test_an_untrained_network_gives_the_mean_of_pieces(
    tiny_model_folder: Path, small_corpus_texts: list[str]
):
    inputs = Inputs(
        tiny_model_folder, extended(tiny_model_folder, small_corpus_texts), small_corpus_texts
    )
    untrained = Hypernetwork(head="same", network=network(n_steps=0, linear_share=0.0))
    rows, _ = rows_of(inputs.initialise(EmbeddingConfig(initialiser=untrained)))
    assert torch.equal(rows["input_rows"], rows_of(inputs.initialise(MEAN))[0]["input_rows"])


def test_a_network_of_another_width_is_refused(
    tiny_model_folder: Path, small_corpus_texts: list[str], tmp_path: Path
):
    inputs = Inputs(
        tiny_model_folder, extended(tiny_model_folder, small_corpus_texts), small_corpus_texts
    )
    trained = Hypernetwork(network=network(n_steps=0))
    config = EmbeddingConfig(initialiser=trained, prefix_prior=COMPOSED.prefix_prior)
    path = open_artifact(inputs.initialise(config)) / "network.safetensors"
    tensors = load_file(path)
    tensors["mean"] = torch.zeros(1, 33)
    wrong = tmp_path / "network.safetensors"
    save_file(tensors, wrong)
    given = Hypernetwork(head="same", network=NetworkFile(path=str(wrong)))
    with pytest.raises(NetworkFileError, match="no row network"):
        inputs.initialise(EmbeddingConfig(initialiser=given))


@pytest.mark.parametrize(("rank", "untied"), [(None, False), (8, True)])
def test_rows_are_learnt_from_word_vectors(
    rank: int | None, untied: bool, tiny_model_folder: Path, tiny_untied_model_folder: Path,
    small_corpus_texts: list[str], tmp_path: Path,
):  # fmt: skip
    folder = tiny_untied_model_folder if untied else tiny_model_folder
    inputs = Inputs(folder, extended(folder, small_corpus_texts), small_corpus_texts)
    words = sorted({word for text in small_corpus_texts for word in text.split()})
    rng, path = np.random.default_rng(0), tmp_path / "words.vec"
    lines = [f"{word} {' '.join(f'{x:.3f}' for x in rng.normal(size=4))}" for word in words]
    path.write_text("\n".join(lines) + "\n")
    method = HyperOfa(
        vectors=WordVectorFile(path=str(path)), rank=rank, hidden=8, n_epochs=2, batch_tokens=64
    )
    config = EmbeddingConfig(initialiser=method, fallback=("mean_of_pieces", "error"))
    artifact = inputs.initialise(config)
    rows, _ = rows_of(artifact)
    old = stored(folder)["model.embed_tokens.weight"]
    assert set(rows) == ({"input_rows", "head_rows"} if untied else {"input_rows"})
    for part in rows.values():
        assert part[len(old) :].isfinite().all()
        assert part[len(old) :].norm(dim=1).min() > 0
    assert torch.equal(rows["input_rows"][: len(old)], old)
    assert artifact.summary["n_old_with_words"] > 100
    lineage = read_table(open_artifact(artifact) / "lineage.parquet").to_pylist()
    methods = {row["method"] for row in lineage if row["id"] >= len(old)}
    assert "hyperofa" in methods
    if rank is not None:
        made = [r["id"] for r in lineage if r["method"] == "hyperofa" and r["part"] == "input"]
        assert torch.linalg.matrix_rank(rows["input_rows"][made], rtol=1e-4) <= 8
    again = inputs.initialise(config.model_copy(update={"fallback_seed": 1}))
    assert torch.equal(rows_of(again)[0]["input_rows"], rows["input_rows"])
