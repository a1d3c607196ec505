"""A grid of tokenizers and initialisers on a tiny model through the command line."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from infra.artifacts import open_artifact, read_artifact
from infra.parquet import read_table
from infra.stages import settings_store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SHARED = ("model", "corpus", "pretraining", "export", "evaluation")


def _grid(run: dict, folder: Path, **changed: object) -> str:
    grid = {name: run[name] for name in SHARED if name in run} | {
        "tokenizers": {
            "extended": {"tokenizer": run["tokenizer"]},
            "bytes": {"tokenizer": {"method": "bytes"}},
        },
        "initialisers": {
            "composed": run["embedding"],
            "mean": {**run["embedding"], "initialiser": {"method": "mean_of_pieces"}},
        },
    }
    path = folder / "grid.yaml"
    path.write_text(yaml.safe_dump(grid | changed))
    return str(path)


def _attempts(stage: str) -> list[str]:
    return [
        file.path
        for file in settings_store().files()
        if file.path.startswith(f"{stage}/") and file.path.endswith("/manifest.json")
    ]


def _invoke(*arguments: str) -> str:
    command = [str(Path(sys.executable).with_name("tokgraft")), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == "", done.stderr
    return done.stdout


def test_a_grid_shares_stages_and_ends_with_all_arms_beside_their_controls(
    tmp_path: Path, tiny_run: dict
):
    file = _grid(tiny_run, tmp_path)
    planned = _invoke("compare", file, "--plan")
    assert "leaderboard" in planned
    said = _invoke("compare", file)
    assert "the best of 4 is" in said
    n_by_stage = {
        stage: len(_attempts(stage))
        for stage in ("model", "corpus", "tokenizer", "embedding", "pretraining", "leaderboard")
    }
    # 4 cells, a control on the same bytes and one of equal cost for each tokenizer.
    assert n_by_stage == {
        **{"model": 1, "corpus": 1, "tokenizer": 2, "embedding": 4},
        **{"pretraining": 7, "leaderboard": 1},
    }
    folder = open_artifact(read_artifact(settings_store().uri(_attempts("leaderboard")[0][:-14])))
    board = read_table(folder / "leaderboard.parquet").to_pylist()
    kinds = {row["arm"]: row["kind"] for row in board}
    assert sorted(kinds.values()).count("swapped") == 8
    metrics = {row["metric"] for row in board if row["arm"] == "bytes mean 0"}
    assert {"bits_per_byte_vs_control_bytes", "bits_per_byte_vs_control_flops"} <= metrics
    assert (folder / "leaderboard.html").read_text(encoding="utf-8").count("<svg") >= 1

    again = _invoke("compare", file)
    assert not re.search(r"\d s  ", again), again  # every stage's line says Cached
    assert len(_attempts("pretraining")) == 7


def test_without_training_models_are_compared_as_initialised(tmp_path: Path, tiny_run: dict):
    said = _invoke("compare", _grid(tiny_run, tmp_path, pretraining=None))
    assert "before any training" in said
    assert _attempts("pretraining") == []
