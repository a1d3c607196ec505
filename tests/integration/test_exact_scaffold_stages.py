"""Exact Scaffold-BPE through the stages: every one uses exact ids and rows for visible tokens."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from infra.artifacts import Artifact, Attempt, Summary, open_artifact
from infra.parquet import read_table, write_table
from tasks.embedding.config import Composed, EmbeddingConfig
from tasks.embedding.config_base import PrefixPrior
from tasks.embedding.task import initialise_embeddings
from tasks.evaluation.config import EvaluationConfig
from tasks.evaluation.task import measure_model
from tasks.model.config import ExportConfig
from tasks.model.task import assemble_model
from tasks.pretraining.config import TokensConfig
from tasks.pretraining.task import tokenize_corpus
from tasks.shared.config import StageConfig
from tasks.shared.document_prefix import document_prefix_id
from tasks.shared.task import stage
from tasks.shared.text_tokenizer import ExactTokenizer, open_tokenizer
from tasks.shared.vocabulary import read_vocabulary
from tasks.tokenizer.config import PretokensConfig, ScaffoldBpe
from tasks.tokenizer.task import count_pretokens, train_tokenizer

SIZE = 340


class Given(StageConfig):
    folder: str = ""
    texts: tuple[str, ...] = ()


@stage(name="given_model", version=1)
def give_model(attempt: Attempt, config: Given) -> Summary:
    shutil.copytree(config.folder, attempt.folder, dirs_exist_ok=True)
    (attempt.folder / "origin.json").write_text(
        json.dumps({"origin": "tiny", "licence": None, "format": "directory",
                    "architecture": "LlamaForCausalLM", "dequantised": False,
                    "quantisation": None})
    )  # fmt: skip
    return {}


@stage(name="given_corpus", version=1)
def give_corpus(attempt: Attempt, config: Given) -> Summary:
    def table(texts: tuple[str, ...], **more: Any) -> pa.Table:
        n = len(texts)
        columns = {"doc_id": [f"d{i}" for i in range(n)], "source": ["test"] * n}
        n_bytes = pa.array([len(text.encode()) for text in texts], pa.int64())
        suite = {name: [value] * n for name, value in more.items()}
        return pa.table({**columns, **suite, "text": list(texts), "n_bytes": n_bytes})

    write_table(attempt.folder / "train-00000.parquet", table(config.texts[:-40]))
    write_table(
        attempt.folder / "heldout-00000.parquet", table(config.texts[-40:], suite="heldout")
    )
    return {}


@pytest.fixture
def made(tiny_model_folder: Path, small_corpus_texts: list[str]) -> dict[str, Artifact]:
    model = give_model(Given(folder=str(tiny_model_folder)))
    corpus = give_corpus(Given(texts=tuple(small_corpus_texts)))
    pretokens = count_pretokens(PretokensConfig(), model, corpus)
    artifacts = {"model": model, "corpus": corpus}
    for encoding in ("plain", "exact"):
        config = ScaffoldBpe(vocabulary_size=SIZE, encoding=encoding)
        artifacts[encoding] = train_tokenizer(config, model, corpus, pretokens)
    return artifacts


def test_the_two_encodings_say_how_far_apart_they_are(made: dict[str, Artifact]):
    plain, exact = (made[name].summary for name in ("plain", "exact"))
    assert exact["vocabulary_size"] == SIZE
    assert plain["vocabulary_size"] == SIZE + int(exact["n_scaffolds"])
    for name in ("plain_tokens_equal", "plain_tokens_against_exact"):
        assert plain[name] == exact[name]
        assert 0 < exact[name] < 1
    against = plain["bytes_per_token"] / exact["bytes_per_token"]
    assert 1 / against == pytest.approx(exact["plain_tokens_against_exact"])
    tables = {name: open_artifact(made[name]) for name in ("plain", "exact")}
    rows = read_table(tables["exact"] / "vocabulary.parquet")
    assert rows.num_rows == SIZE
    assert "scaffold" not in rows["formation"].to_pylist()
    # What is left at the end spells the training text in both.
    spelled = [
        sum(row["left"] * len(row["bytes"] or b"") for row in table.to_pylist())
        for table in (rows, read_table(tables["plain"] / "vocabulary.parquet"))
    ]
    assert spelled[0] == spelled[1] > 0
    measured = read_table(tables["exact"] / "metrics.parquet")["metric"].to_pylist()
    assert "plain_tokens_equal" in measured


def test_rows_ids_and_measures_are_exact(
    made: dict[str, Artifact],
    small_corpus_texts: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    model, corpus, tokenizer = made["model"], made["corpus"], made["exact"]
    used = open_tokenizer(open_artifact(tokenizer))
    assert isinstance(used, ExactTokenizer)
    tokens = tokenize_corpus(TokensConfig(), tokenizer, corpus)
    shards = read_table(open_artifact(tokens) / "tokens-00000.parquet")["ids"].to_pylist()
    texts = small_corpus_texts[:-40]
    assert shards == [used.encode(text, add_special_tokens=False).ids for text in texts]
    plain = used.plain.encode_batch_fast(texts, add_special_tokens=False)
    assert max(max(encoding.ids) for encoding in plain) >= SIZE
    counts = read_table(open_artifact(tokens) / "counts.parquet")["count"].to_numpy()
    assert len(counts) == SIZE
    assert counts.sum() == sum(map(len, shards))

    prior = PrefixPrior(
        direction_positions=512, direction_window_tokens=32, max_direction_spread=1e6
    )
    config = EmbeddingConfig(initialiser=Composed(), prefix_prior=prior, fallback=("mean",))
    embedding = initialise_embeddings(config, model, tokenizer, tokens, corpus)
    lineage = read_table(open_artifact(embedding) / "lineage.parquet")["id"].to_numpy()
    assert sorted(np.unique(lineage)) == list(range(SIZE))

    assembled = assemble_model(ExportConfig(), model, tokenizer, embedding)
    folder = open_artifact(assembled)
    assert json.loads((folder / "config.json").read_text())["vocab_size"] == SIZE
    lm = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    assert lm.get_input_embeddings().weight.shape[0] == SIZE
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path))
    shipped = AutoTokenizer.from_pretrained(folder, trust_remote_code=True, local_files_only=True)
    assert shipped(texts, add_special_tokens=False)["input_ids"] == shards
    assert len(shipped) == SIZE

    measured = measure_model(
        EvaluationConfig(document_bytes=128, suite_bytes=3000, n_resamples=100), assembled, corpus
    )
    documents = read_table(open_artifact(measured) / "documents.parquet").to_pylist()
    assert all(row["nats"] is not None for row in documents)
    first = documents[0]
    assert first["piece"] == 0
    text = small_corpus_texts[-40:][int(first["doc_id"][1:])]
    ids = shipped(text.encode()[: first["n_bytes"]].decode(), add_special_tokens=False)
    assert first["n_tokens"] == len(ids["input_ids"])
    prefix_id = document_prefix_id(read_vocabulary(folder).roles)
    input_ids = torch.tensor([[prefix_id, *ids["input_ids"]]])
    with torch.inference_mode():
        loss = lm(input_ids=input_ids, labels=input_ids).loss
    assert first["nats"] == pytest.approx(float(loss) * first["n_tokens"], rel=1e-4)
