"""What the embedding stage refuses: one line that says why, and nothing written as finished."""

import json
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from embedding_inputs import Inputs, extended
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models
from transformers import AutoModelForCausalLM

from infra.artifacts import Artifact, open_artifact
from tasks.embedding.anchors import DonorLacksTokensError, TooFewAnchorsError
from tasks.embedding.config import EmbeddingConfig
from tasks.embedding.config_source import MergeRegression
from tasks.embedding.config_text import Focus, TokenVectors
from tasks.embedding.focus import NoSharedTokensError
from tasks.embedding.merge_regression import NoMergesError
from tasks.embedding.network_file import NetworkFileError, network_arrays, new_network
from tasks.embedding.row_network import NetworkShape
from tasks.embedding.task import initialise_embeddings
from tasks.embedding.tokalign import TooFewPivotsError
from tasks.embedding.token_vectors import TooLittleTextError
from tasks.model.config import ModelConfig
from tasks.model.task import import_model, lock_model
from tasks.shared.errors import InputError
from tasks.shared.vocabulary import UncoverableTokenError, UnknownTokenError

Make = Callable[..., Artifact]
Refused = Callable[[Callable[[], Artifact], type[InputError], str], None]
needs_fasttext = pytest.mark.skipif(find_spec("fasttext") is None, reason="needs the extra vectors")
FEW_NUMBERS = TokenVectors(dimensions=4, epochs=1, min_count=5, n_buckets=100)


def donor_of(folder: Path, model: Path, tokenizer_file: Path) -> dict[str, Any]:
    """The tiny model with random rows for another tokenizer."""
    shutil.copytree(model, folder)
    shutil.copy(tokenizer_file, folder / "tokenizer.json")
    donor = AutoModelForCausalLM.from_pretrained(folder)
    donor.resize_token_embeddings(Tokenizer.from_file(str(tokenizer_file)).get_vocab_size())
    donor.save_pretrained(folder)
    return {"source": {"kind": "directory", "path": str(folder)}}


def test_donors_that_cannot_help(
    upstream: Any, make: Make, refused: Refused, tmp_path: Path, tiny_model_folder: Path
):
    own = {"source": {"kind": "directory", "path": str(tiny_model_folder)}}
    refused(
        lambda: make({"method": "omp", "k": 8}, donor=own),
        DonorLacksTokensError, r"has no row for 64 of 64 tokens.*name the model that this",
    )  # fmt: skip
    files = open_artifact(upstream.artifacts[2])
    donor = donor_of(tmp_path / "donor", tiny_model_folder, files / "tokenizer.json")
    refused(
        lambda: make({"method": "omp", "k": 100_000}, donor=donor),
        TooFewAnchorsError, r"k = 100000 needs 100000 tokens .*and there are \d+: lower it",
    )  # fmt: skip
    # New tokens alone, in the printable byte alphabet of their tokenizer.
    vocabulary = Tokenizer.from_file(str(files / "tokenizer.json")).get_vocab()
    old = Tokenizer.from_file(str(tiny_model_folder / "tokenizer.json")).get_vocab()
    new = {token: i for i, token in enumerate(sorted(vocabulary.keys() - old.keys()))}
    whole = json.loads((files / "tokenizer.json").read_text())
    alone = Tokenizer(models.BPE(new, []))
    whole["model"] = json.loads(alone.to_str())["model"]
    whole["added_tokens"] = []
    (tmp_path / "alone.json").write_text(json.dumps(whole))
    stranger = donor_of(tmp_path / "stranger", tiny_model_folder, tmp_path / "alone.json")
    refused(
        lambda: make({"method": "omp", "k": 1}, donor=stranger),
        TooFewAnchorsError, "share no token, so nothing connects their rows",
    )  # fmt: skip


def test_a_donor_that_has_only_some_of_the_new_tokens(
    upstream: Any, make: Make, refused: Refused, tmp_path: Path, tiny_model_folder: Path
):
    whole = json.loads((open_artifact(upstream.artifacts[2]) / "tokenizer.json").read_text())
    vocabulary, merges = whole["model"]["vocab"], whole["model"]["merges"]
    last = {"".join(merge) for merge in merges[-10:]}
    kept = sorted(vocabulary.keys() - last, key=vocabulary.__getitem__)
    whole["model"]["vocab"] = {token: i for i, token in enumerate(kept)}
    whole["model"]["merges"] = merges[:-10]
    whole["added_tokens"] = []
    (tmp_path / "older.json").write_text(json.dumps(whole))
    donor = donor_of(tmp_path / "donor", tiny_model_folder, tmp_path / "older.json")
    refused(
        lambda: make({"method": "omp", "k": 8}, donor=donor, embedding={"fallback": ["error"]}),
        UncoverableTokenError,
        r"^initialiser omp has nothing for 10 new tokens \(first: .*\): the donor \S+ .* has a "
        r"trained row for 54 of the 64 new tokens; let the .* mean_of_pieces, or name as the donor",
    )
    rows = make({"method": "omp", "k": 8}, donor=donor)
    assert rows.summary["n_fallback_mean_of_pieces"] == 10


@needs_fasttext
def test_text_in_which_no_token_is_frequent(make: Make, refused: Refused):
    refused(
        lambda: make({"method": "focus", "vectors": {"min_count": 10**6, "dimensions": 4}}),
        TooLittleTextError, r"occurs \d+ times, and a vector needs 1000000; give more text",
    )  # fmt: skip


@needs_fasttext
def test_text_of_new_tokens_alone(
    refused: Refused, tiny_model_folder: Path, small_corpus_texts: list[str]
):
    """Only what occurs gets a vector, and a new row is made of those of shared tokens."""
    tokenizer = extended(tiny_model_folder, small_corpus_texts)
    inputs = Inputs(tiny_model_folder, tokenizer, [" die" * 20])
    config = EmbeddingConfig(initialiser=Focus(vectors=FEW_NUMBERS))
    refused(
        lambda: inputs.initialise(config),
        NoSharedTokensError, r"of \d{3} tokens that both .* none is among the 1 that got a vector",
    )  # fmt: skip


@needs_fasttext
def test_fewer_shared_tokens_in_the_text_than_pivots(make: Make, refused: Refused):
    method = {"method": "tokalign", "vectors": FEW_NUMBERS.model_dump(), "n_pivots": 10_000}
    refused(
        lambda: make(method),
        TooFewPivotsError, r"\d+ of \d{3} shared tokens have a vector.* than n_pivots=10000; give",
    )  # fmt: skip


def test_special_token_that_neither_side_has(make: Make, refused: Refused):
    for mapping in ({"<|im_start|>": "<|none|>"}, {"<|none|>": "<|im_start|>"}):
        refused(
            lambda named=mapping: make(
                {"method": "mean_of_pieces"}, embedding={"special_tokens": named}
            ),
            UnknownTokenError, r"names '<\|none\|>', which the (source|target) vocabulary",
        )  # fmt: skip


def test_network_for_rows_of_another_width(make: Make, refused: Refused, tmp_path: Path):
    network = new_network(NetworkShape(1, 16, 8, 1, 3), 0)
    path = tmp_path / "network.safetensors"
    save_file({name: torch.from_numpy(a) for name, a in network_arrays(network).items()}, path)
    given = {"method": "hypernetwork", "network": {"kind": "file", "path": str(path)}}
    refused(
        lambda: make(given),
        NetworkFileError, "rows of width 16 and the model has rows of width 32; take a network",
    )  # fmt: skip


def test_source_with_a_single_merge(
    upstream: Any, refused: Refused, tmp_path: Path, tiny_model_folder: Path
):
    folder = shutil.copytree(tiny_model_folder, tmp_path / "model")
    record = json.loads((folder / "tokenizer.json").read_text())
    record["model"]["merges"] = record["model"]["merges"][:1]
    (folder / "tokenizer.json").write_text(json.dumps(record))
    source, (_, corpus, tokenizer, tokens) = imported(folder), upstream.artifacts
    config = EmbeddingConfig(initialiser=MergeRegression(), fallback=("mean_of_pieces", "mean"))
    refused(
        lambda: initialise_embeddings(config, source, tokenizer, tokens, corpus),
        NoMergesError, r"the source tokenizer has 1 merges.*use initialiser method mean_of_pieces",
    )  # fmt: skip


def test_model_with_fewer_rows_than_tokens(
    refused: Refused, tmp_path: Path, tiny_model_folder: Path
):
    folder = shutil.copytree(tiny_model_folder, tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    name = "model.embed_tokens.weight"
    n_rows = len(tensors[name]) - 7
    tensors[name] = tensors[name][:n_rows].clone()
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    record = json.loads((folder / "config.json").read_text()) | {"vocab_size": n_rows}
    (folder / "config.json").write_text(json.dumps(record))
    refused(lambda: imported(folder), InputError, rf"{n_rows} rows")


def imported(folder: Path) -> Artifact:
    config = ModelConfig.model_validate({"source": {"kind": "directory", "path": str(folder)}})
    return import_model(config, lock_model(config))
