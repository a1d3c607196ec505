"""Text from a dataset on the Hub: which files, their hashes, and what is said when it is not so."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.integration.hub_server import COMMIT, hub_server

CARD = """---
configs:
- config_name: deu
  default: true
  data_files:
  - {split: train, path: data/deu/train-*}
  - {split: test, path: data/deu/test-*}
- config_name: plain
  data_files: [{split: train, path: plain/*.jsonl}]
---
"""
STAGES = """
import json, sys
from infra.artifacts import open_artifact
from infra.errors import InfraError
from infra.parquet import read_table
from tasks.corpus.config import CorpusConfig
from tasks.corpus.task import lock_corpus, sample_corpus

def made(config):
    lock = lock_corpus(config)
    folder, corpus = open_artifact(lock), sample_corpus(config, lock)
    names = [row["name"] for row in read_table(folder / "lock.parquet").to_pylist()]
    uris = [row["uri"] for row in read_table(folder / "origins.parquet").to_pylist()]
    texts = [text for file in open_artifact(corpus).glob("*-*.parquet")
             for text in read_table(file)["text"].to_pylist()]
    return {"names": names, "uris": sorted(uris), "texts": texts, "digest": corpus.digest}

for config in map(CorpusConfig.model_validate, json.loads(sys.argv[1])):
    try:
        print(json.dumps(made(config)))
    except (InfraError, ValueError) as error:
        print(json.dumps(f"{type(error).__name__}: {error}"))
"""


def write_dataset(folder: Path) -> Path:
    (folder / "data" / "deu").mkdir(parents=True)
    (folder / "plain").mkdir()
    for number in range(3):
        texts = [f"Satzung {number}, Absatz {i}: Es gilt das Folgende.\n" for i in range(20)]
        pq.write_table(pa.table({"text": texts}), folder / f"data/deu/train-{number:05d}.parquet")
    measured = pa.table({"text": ["Nur zum Messen.\n"]})
    pq.write_table(measured, folder / "data/deu/test-00000.parquet")
    lines = [json.dumps({"content": f"Zeile {i} einer Datei.\n"}) for i in range(40)]
    (folder / "plain" / "lines.jsonl").write_text("\n".join(lines))
    (folder / "README.md").write_text(CARD)
    return folder


class Place:
    """Runs the corpus's stages against a Hub, each time in a new process."""

    def __init__(self, url: str, asked: list[str], home: Path) -> None:
        self.asked = asked
        self.environment = {**os.environ, "HF_ENDPOINT": url, "HF_HOME": str(home)}
        del self.environment["HF_HUB_OFFLINE"]

    def gives(self, *sources: dict[str, Any]) -> list[Any]:
        """What comes of each source by itself: a corpus, or the error."""
        every = {"kind": "hub_dataset", "name": "web", "repo_id": "owner/texts"}
        rules = {"min_document_bytes": 10, "heldout_fraction": 0.1}
        configs = [{"sources": [every | source], **rules} for source in sources]
        done = subprocess.run(
            [sys.executable, "-c", STAGES, json.dumps(configs)], env=self.environment,
            capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Place]:
    write_dataset(tmp_path / "hub" / "owner" / "texts")
    with hub_server(tmp_path / "hub") as (url, asked):
        yield Place(url, asked, tmp_path / "home")


def test_the_first_files_of_a_split_are_locked_at_a_commit_and_read_once(hub: Place):
    [made] = hub.gives({"max_files": 2})
    first_two = ["data/deu/train-00000.parquet", "data/deu/train-00001.parquet"]
    assert made["names"] == first_two
    at = f"hub:datasets/owner/texts@{COMMIT}"
    assert made["uris"] == [f"{at}/{name}" for name in first_two]
    assert len(made["texts"]) == 40
    assert {text.split(",")[0] for text in made["texts"]} == {"Satzung 0", "Satzung 1"}

    hub.asked.clear()
    assert hub.gives({"max_files": 2}) == [made]
    assert hub.asked == [], "a second run asks the Hub for nothing"


def test_subset_split_and_field_say_what_is_read_and_what_is_not_there_is_named(hub: Place):
    plain, *refused = hub.gives(
        {"subset": "plain", "text_field": "content", "revision": COMMIT},
        {"split": "dev"},
        {"subset": "fra"},
        {"repo_id": "owner/none"},
        {"revision": "v9"},
        {"text_field": "body"},
    )
    assert plain["names"] == ["plain/lines.jsonl"]
    assert len(plain["texts"]) == 40
    for error, said in zip(
        refused,
        [
            "HubError: dataset owner/texts at main has no split 'dev' (found train, test); set",
            "BuilderConfig 'fra' not found. Available: ['deu', 'plain']",
            "HubError: dataset owner/none at main cannot be listed on the Hugging Face Hub (404",
            "HubError: dataset owner/texts at v9 cannot be listed on the Hugging Face Hub (404",
            "data/deu/train-00000.parquet has no column 'body' (found text)",
        ],
        strict=True,
    ):
        assert said in error
        assert "\n" not in error


def test_a_hub_that_does_not_answer_is_one_line(hub: Place):
    hub.environment["HF_ENDPOINT"] = "http://127.0.0.1:9"
    [error] = hub.gives({})
    assert error.startswith("HubError: dataset owner/texts at main cannot be listed")
    assert "\n" not in error
