"""A model from the Hub: the same as from the folder that the Hub was given."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.integration.hub_server import COMMIT, hub_server

STAGES = """
import json, sys
from infra.artifacts import open_artifact
from infra.keys import file_sha256
from infra.parquet import read_table
from tasks.model.config import ModelConfig
from tasks.model.task import import_model, lock_model
for source in json.loads(sys.argv[1]):
    config = ModelConfig.model_validate({"source": source})
    lock = lock_model(config)
    model = import_model(config, lock)
    folder = open_artifact(model)
    rows = read_table(open_artifact(lock) / "lock.parquet").to_pylist()
    print(json.dumps({
        "versions": sorted({row["version"] for row in rows}),
        "origin": model.summary["origin"],
        "weights": sorted(file_sha256(file) for file in folder.glob("*.safetensors")),
        "tokenizer": file_sha256(folder / "tokenizer.json"),
    }))
"""


def test_a_branch_is_locked_at_its_commit_and_imported_once(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_model_folder, tmp_path / "hub" / "owner" / "tiny")
    sources = [
        {"kind": "hub", "repo_id": "owner/tiny"},
        {"kind": "directory", "path": str(tiny_model_folder)},
    ]
    with hub_server(tmp_path / "hub") as (url, asked):
        environment = {**os.environ, "HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "home")}
        del environment["HF_HUB_OFFLINE"]

        def made() -> list[dict]:
            done = subprocess.run(
                [sys.executable, "-c", STAGES, json.dumps(sources)], env=environment,
                capture_output=True, text=True, timeout=900, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            return [json.loads(line) for line in done.stdout.splitlines()]

        from_hub, from_folder = made()
        assert from_hub["versions"] == [COMMIT]
        assert from_hub["origin"] == f"owner/tiny@{COMMIT}"
        assert from_hub["weights"] == from_folder["weights"] != []
        assert from_hub["tokenizer"] == from_folder["tokenizer"]

        asked.clear()
        assert made() == [from_hub, from_folder]
        assert asked == [], "a second run asks the Hub for nothing"
