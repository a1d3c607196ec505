"""Runs that end with new rows: nothing is trained, and encoders are taken too."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, BertConfig, BertForMaskedLM

from infra.stages import settings_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

TOKGRAFT = str(Path(sys.executable).with_name("tokgraft"))


def run(folder: Path, config: dict) -> str:
    file = folder / "run.yaml"
    file.write_text(yaml.safe_dump(config))
    done = subprocess.run(
        [TOKGRAFT, "run", str(file), "--export", str(folder / "adapted")],
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def stages() -> set[str]:
    return {file.path.split("/")[0] for file in settings_store().files()}


def test_a_run_without_training_ends_with_the_new_rows_measured(tmp_path, tiny_run):
    said = run(tmp_path, {**tiny_run, "pretraining": None})
    assert "before training" in said
    assert "so there are no controls" in said
    assert stages() & {"pretraining", "export", "report"} == set()
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "adapted")
    assert len(model.get_input_embeddings().weight) == len(tokens(tmp_path / "adapted"))


def test_an_encoder_gets_new_rows_and_is_not_measured(tmp_path, tiny_run):
    source = Path(tiny_run["model"]["source"]["path"])
    encoder = tmp_path / "encoder"
    encoder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (encoder / name).write_bytes((source / name).read_bytes())
    n_old = len(tokens(encoder))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=n_old, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64,
    )  # fmt: skip
    before = BertForMaskedLM(config)
    before.save_pretrained(encoder)

    tiny_run["model"]["source"]["path"] = str(encoder)
    said = run(tmp_path, {**tiny_run, "pretraining": None})
    assert "not measured" in " ".join(said.split())
    assert stages() & {"pretraining", "export", "measured", "leaderboard", "report"} == set()
    after = AutoModelForMaskedLM.from_pretrained(tmp_path / "adapted")
    n_new = len(tokens(tmp_path / "adapted"))
    assert n_new == n_old + 64
    old, new = before.state_dict(), after.state_dict()
    assert len(new["bert.embeddings.word_embeddings.weight"]) == n_new
    assert len(new["cls.predictions.bias"]) == n_new
    body = "bert.encoder.layer.1.output.dense.weight"
    assert torch.equal(old[body], new[body])
    rows = new["bert.embeddings.word_embeddings.weight"]
    assert torch.equal(old["bert.embeddings.word_embeddings.weight"], rows[:n_old])
    assert (tmp_path / "adapted" / "lineage.parquet").is_file()


def tokens(folder: Path) -> dict[str, int]:
    return Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()
