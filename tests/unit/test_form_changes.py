"""What a form may change in a run, and which files it may name."""

from pathlib import Path

import pytest
import yaml

from flows.run_config import RunConfig, RunConfigError, check_config
from flows.run_files import read_run_file, run_files, with_changes


@pytest.fixture
def configs(tmp_path: Path, tiny_run: dict) -> Path:
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "one.yaml").write_text(yaml.safe_dump(tiny_run))
    (folder / "grid.yaml").write_text("# a grid\ntokenizers:\n  a: {}\n")
    (folder / "schedules.yaml").write_text("schedules: []\ntokenizer: {}\n")
    (folder / "broken.yaml").write_text("tokenizer: [\n")
    (tmp_path / "outside.yaml").write_text("tokenizer: {}\n")
    return folder


def test_files_are_told_apart_by_their_keys(configs: Path):
    assert run_files(configs, "run") == ["broken.yaml", "one.yaml"]
    assert run_files(configs, "comparison") == ["grid.yaml"]
    assert run_files(configs / "nowhere", "run") == []


@pytest.mark.parametrize("name", ["../outside.yaml", "grid.yaml", "schedules.yaml", ""])
def test_a_name_that_is_not_offered_is_refused(configs: Path, name: str):
    with pytest.raises(RunConfigError, match=r"no run named .* holds broken\.yaml, one\.yaml"):
        read_run_file(configs, "run", name)


def test_a_broken_file_is_named(configs: Path):
    with pytest.raises(RunConfigError, match=r"broken\.yaml cannot be read as YAML"):
        read_run_file(configs, "run", "broken.yaml")


def test_no_change_changes_nothing(tiny_run: dict):
    assert with_changes(tiny_run) == tiny_run


def test_changes_reach_the_fields_that_they_are_about(tiny_run: dict):
    changed = check_config(
        with_changes(
            tiny_run,
            target_bytes=5000,
            tokenizer="bpe",
            vocabulary_size=700,
            initialiser="mean",
            refresh=True,
        ),
        RunConfig,
        "run",
    )
    assert changed.corpus.budget_bytes == 5000
    assert changed.corpus.refresh == "always"
    assert changed.tokenizer.method == "bpe"
    assert changed.tokenizer.vocabulary_size == 700
    assert changed.embedding.initialiser.method == "mean"
    # What stands beside the method stays.
    assert changed.embedding.prefix_prior.direction_positions == 512
    assert changed.corpus.min_document_bytes == 20


def test_the_size_of_an_extended_tokenizer_is_what_is_added(tiny_run: dict):
    tiny_run["tokenizer"]["allow_specials"] = "kept"
    changed = with_changes(tiny_run, tokenizer="extend", vocabulary_size=9)["tokenizer"]
    assert changed == {"method": "extend", "n_new_tokens": 9, "allow_specials": "kept"}


def test_fields_of_another_method_go(tiny_run: dict):
    assert with_changes(tiny_run, tokenizer="bytes")["tokenizer"] == {"method": "bytes"}


def test_a_size_that_the_method_has_not_is_an_error_in_one_line(tiny_run: dict):
    values = with_changes(tiny_run, tokenizer="bytes", vocabulary_size=9)
    with pytest.raises(RunConfigError, match=r"run: tokenizer\.bytes\.vocabulary_size: Extra"):
        check_config(values, RunConfig, "run")
