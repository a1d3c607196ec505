"""The doors of the evaluation on the tiny model, from artifacts to artifacts."""

import json
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from transformers import BertConfig, BertForMaskedLM

from infra.artifacts import Artifact, Attempt, Summary, open_artifact
from infra.parquet import read_table, write_table
from infra.stages import StageCall, run_call
from tasks.embedding.row_map import map_table
from tasks.embedding.row_norms import norms_table
from tasks.evaluation.config import EvaluationConfig, GenerationConfig, ReportConfig
from tasks.evaluation.measure import NothingHeldOutError
from tasks.evaluation.task import measure_model, write_report
from tasks.shared.causality import NotCausalError
from tasks.shared.vocabulary import read_vocabulary
from tasks.tokenizer.token_kinds import vocabulary_metrics

CONFIG = EvaluationConfig(
    document_bytes=64,
    suite_bytes=700,
    n_resamples=100,
    generation=GenerationConfig(n_prompts=1, new_characters=8, prompt_characters=20),
)
NUMBERS = count()


def artifact_of(
    stage: str, write: Callable[[Path], None], *inputs: Artifact, **summary: int
) -> Artifact:
    def body(attempt: Attempt) -> Summary:
        write(attempt.folder)
        return {**summary}

    call = StageCall(stage, 1, {"number": next(NUMBERS)}, inputs)
    return run_call(call, 1, body, lambda done, total, text: None)


def corpus_of(texts_by_suite: dict[str, list[str]]) -> Artifact:
    rows = [
        {"doc_id": f"{suite}{i}", "source": "s", "suite": suite, "text": text}
        for suite, texts in texts_by_suite.items()
        for i, text in enumerate(texts)
    ]
    names = ("doc_id", "source", "suite", "text")
    heldout = pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in names]))
    sources = pa.table({"source": ["s"], "rule": ["read"], "n_documents": [9], "n_bytes": [99]})

    def write(place: Path) -> None:
        write_table(place / "heldout-00000.parquet", heldout)
        write_table(place / "sources.parquet", sources)

    return artifact_of("corpus", write)


def model_of(folder: Path, stage: str, *inputs: Artifact) -> Artifact:
    def write(place: Path) -> None:
        shutil.copytree(folder, place, dirs_exist_ok=True)
        origin = {"origin": f"tiny {next(NUMBERS)}", "dequantised": False}
        (place / "origin.json").write_text(json.dumps(origin))

    return artifact_of(stage, write, *inputs)


@pytest.fixture
def corpus(small_corpus_texts: list[str]) -> Artifact:
    return corpus_of({"general": small_corpus_texts[:2], "heldout": small_corpus_texts[2:14]})


def table(artifact: Artifact, name: str) -> pa.Table:
    return read_table(open_artifact(artifact) / f"{name}.parquet")


def whole(metrics: pa.Table) -> dict[tuple[str, str], dict]:
    return {(r["suite"], r["metric"]): r for r in metrics.to_pylist() if r["subset"] == "all"}


def test_a_measure_is_of_bytes_and_repeats_itself(tiny_model_folder: Path, corpus: Artifact):
    model = model_of(tiny_model_folder, "model")
    measured = measure_model(CONFIG, model, corpus)
    found = whole(table(measured, "metrics"))
    for suite, n_documents in (("general", 2), ("heldout", 11)):
        pieces = [r for r in table(measured, "documents").to_pylist() if r["suite"] == suite]
        nats, n_bytes = (sum(r[column] for r in pieces) for column in ("nats", "n_bytes"))
        bits = found[suite, "bits_per_byte"]
        assert bits["value"] == pytest.approx(nats / np.log(2) / n_bytes)
        assert bits["low"] < bits["value"] < bits["high"]
        assert found[suite, "n_documents"]["value"] == n_documents
    # An untrained model knows nothing: about as many bits as there are tokens to choose from.
    expected = pytest.approx(np.log2(len(read_vocabulary(tiny_model_folder).token_bytes)), abs=0.3)
    rate = found["heldout", "bytes_per_token"]["value"]
    assert found["heldout", "bits_per_byte"]["value"] * rate == expected
    assert measured.summary["heldout_bits_per_byte"] == found["heldout", "bits_per_byte"]["value"]
    (continued,) = table(measured, "continuations").to_pylist()
    assert len(continued["continuation"]) >= 8
    assert table(measured, "timings").num_rows == 2

    with_other_name = measure_model(CONFIG, model_of(tiny_model_folder, "model"), corpus)
    assert with_other_name.uri != measured.uri
    assert with_other_name.digest == measured.digest


def test_prompts_are_of_the_corpus_before_other_suites(
    tiny_model_folder: Path, corpus: Artifact, small_corpus_texts: list[str]
):
    measured = measure_model(CONFIG, model_of(tiny_model_folder, "model"), corpus)
    (continued,) = table(measured, "continuations").to_pylist()
    own = [" ".join(text.split()) for text in small_corpus_texts[2:14]]
    assert any(text.startswith(continued["prompt"]) for text in own)


def test_a_corpus_with_nothing_held_out_is_refused(tiny_model_folder: Path):
    with pytest.raises(NothingHeldOutError, match="no held-out text"):
        measure_model(CONFIG, model_of(tiny_model_folder, "model"), corpus_of({}))


def test_an_encoder_is_not_measured_as_if_it_were_blind_to_the_answer(
    tiny_model_folder: Path, corpus: Artifact, tmp_path: Path
):
    n_tokens = len(read_vocabulary(tiny_model_folder).token_bytes)
    config = BertConfig(
        vocab_size=n_tokens, hidden_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    BertForMaskedLM(config).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_model_folder / name, tmp_path)
    with pytest.raises(NotCausalError, match=r"type bert, no causal .* name a decoder-only model"):
        measure_model(CONFIG, model_of(tmp_path, "model"), corpus)


def test_a_report_shows_every_arm_and_what_it_rests_on(tiny_model_folder: Path, corpus: Artifact):
    vocabulary = read_vocabulary(tiny_model_folder)
    n = len(vocabulary.token_bytes)

    def write_tokenizer(place: Path) -> None:
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(tiny_model_folder / name, place)
        measured = vocabulary_metrics({"source": (vocabulary, None), "new": (vocabulary, None)})
        write_table(place / "metrics.parquet", measured)
        columns = {"id": range(n), "count": range(n)}
        write_table(place / "source_counts.parquet", pa.table(columns))
        columns |= {"is_new": [i > n - 20 for i in range(n)], "reachable": [True] * n}
        columns |= {"formation": ["merge"] * n, "made": range(n), "final_ratio": [0.5] * n}
        write_table(place / "vocabulary.parquet", pa.table(columns))
        write_table(place / "dropped.parquet", pa.table({"id": [300, 301], "count": [0, 4321]}))
        other = {"vocabulary_size": [512], "bytes_per_token": [2.5], "folder": ["sizes/512"]}
        write_table(place / "other_sizes.parquet", pa.table(other))

    lineage = {"id": [n - 1], "part": ["head"], "method": ["prefix_prior"], "weights": [[1.0]]}
    lineage |= {"source_ids": [[n - 2]], "note": [f"P(token | {vocabulary.token_text[n - 2]})"]}
    run = {"bytes": [100, 200], "bits_per_byte": [9.0, 8.5]}

    def tables(name: str, columns: dict) -> Callable[[Path], None]:
        return lambda place: write_table(place / f"{name}.parquet", pa.table(columns))

    source = model_of(tiny_model_folder, "model")
    tokenizer = artifact_of(
        "tokenizer", write_tokenizer, source, corpus, n_dropped=2, n_other_sizes=1
    )
    counts = tables("counts", {"id": range(n), "count": range(n)})
    tokens = artifact_of("tokens", counts, tokenizer, corpus)

    def write_rows(place: Path) -> None:
        tables("lineage", lineage)(place)
        rows = np.eye(4, dtype=np.float32)
        groups = {("input", False): rows, ("input", True): 3 * rows[:2]}
        write_table(place / "norms.parquet", norms_table(groups))
        write_table(place / "map.parquet", map_table(rows, 3 * rows[:2]))
        near = {"id": [n - 1], "token": ["·near"], "neighbours": [["·far"]], "cosines": [[0.5]]}
        write_table(place / "neighbours.parquet", pa.table(near))

    embedding = artifact_of("embedding", write_rows, source, tokenizer)
    initial = model_of(tiny_model_folder, "assembled", source, embedding)
    trained = artifact_of("pretraining", tables("metrics", run), initial, tokens)
    adapted = model_of(tiny_model_folder, "export", initial, trained)
    old_tokens = artifact_of("tokens", counts, source, corpus)
    control = artifact_of("pretraining", tables("metrics", run), source, old_tokens)
    controlled = model_of(tiny_model_folder, "export", source, control)
    arms = [measure_model(CONFIG, arm, corpus) for arm in (source, initial, adapted, controlled)]

    report = write_report(
        ReportConfig(n_resamples=100), source, corpus, tokenizer, tokens, embedding, trained,
        *arms, control,
    )  # fmt: skip
    metrics = table(report, "metrics")
    assert set(metrics["model"].to_pylist()) == {"source", "initial", "adapted", "control"}
    same = [r for r in metrics.to_pylist() if r["metric"] == "bits_per_byte_vs_control"]
    assert [row["value"] for row in same if row["subset"] == "all"] == [0.0, 0.0]
    assert report.summary["heldout_tokens_saved"] == 0.0

    page = (open_artifact(report) / "report.html").read_text()
    for artifact in (source, corpus, tokenizer, tokens, embedding, initial, trained, adapted,
                     old_tokens, control, controlled, *arms):  # fmt: skip
        assert page.count(f"<code>{artifact.uri}</code>") == 1
    assert "no longer in the store" not in page
    assert "pretraining (adapted):" in page
    assert "2 old tokens, the least used ones" in page
    assert "4,321" in page
    assert "<td>sizes/512</td>" in page
    assert '<td>prefix_prior</td><td class="n">1 (100.0%)</td>' in page
    assert '<span class="token">·far</span>&nbsp;<span class="soft">0.50</span>' in page
    assert "new: 2 rows" in page
    assert "pretraining (control):" in page
    assert "“general” text is 2 documents only" in page
