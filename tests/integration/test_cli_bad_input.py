"""Bad input is one line on stderr that names the thing, the rule and the remedy; exit code 2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml


def tokgraft(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("tokgraft")), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=200,
        check=False,
    )


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of a refused run."""
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("tokgraft: ")
    return done.stderr


@pytest.fixture
def run_file(tmp_path: Path, tiny_run: dict):
    def write(**changed: object) -> str:
        path = tmp_path / "run.yaml"
        path.write_text(yaml.safe_dump({**tiny_run, **changed}))
        return str(path)

    return write


def test_a_missing_run_file():
    assert "no run file nowhere.yaml; configs/ holds examples" in complaint(
        tokgraft("run", "nowhere.yaml")
    )


def test_an_unknown_field_is_named_with_its_path(run_file, tiny_run):
    text = complaint(tokgraft("run", run_file(tokeniser=tiny_run["tokenizer"])))
    assert "tokeniser: Extra inputs are not permitted" in text


def test_a_run_file_that_is_no_yaml(tmp_path):
    (tmp_path / "run.yaml").write_text("model: [")
    assert "cannot be read as YAML" in complaint(tokgraft("run", str(tmp_path / "run.yaml")))


def test_a_store_that_cannot_be_written(run_file, tmp_path):
    (tmp_path / "file").write_text("")
    text = complaint(tokgraft("run", run_file(), TOKGRAFT_STORE=str(tmp_path / "file" / "store")))
    assert "TOKGRAFT_STORE" in text


def test_an_export_folder_that_is_not_empty(run_file, tmp_path):
    text = complaint(tokgraft("run", run_file(), "--export", str(tmp_path)))
    assert "is not an empty folder; nothing is overwritten" in text


def test_a_wrong_setting_is_named(run_file):
    assert "n_processes" in complaint(tokgraft("run", run_file(), TOKGRAFT_N_PROCESSES="many"))


@pytest.mark.slow
def test_an_unknown_stage_to_force(run_file):
    assert "no stage named rows; --force takes one of" in complaint(
        tokgraft("run", run_file(), "--force", "rows")
    )


@pytest.mark.slow
def test_a_stage_that_refuses_its_input_ends_the_run_with_its_line(run_file, tiny_run, own_place):
    corpus = {**tiny_run["corpus"], "budget_bytes": 10_000_000}
    text = complaint(tokgraft("run", run_file(corpus=corpus)))
    assert "10,000,000" in text or "10000000" in text
    assert not list((own_place / "store" / "corpus").rglob("manifest.json"))
