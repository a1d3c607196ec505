"""A grid of tokenizers and initialisers on a tiny model through the command line."""

import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import httpx
import pytest
import yaml

from flows.embedded import embedded_home, prefect_server
from infra.artifacts import open_artifact, read_artifact
from infra.parquet import read_table
from infra.stages import settings_store
from tasks.evaluation.leaderboard_view import NOTHING_TRAINED

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

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
        if file.path.startswith(f"{stage}/")
        and file.path.endswith("/manifest.json")
        and "checkpoints" not in file.path
    ]


def _invoke(*arguments: str) -> str:
    command = [str(Path(sys.executable).with_name("tokgraft")), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == "", done.stderr
    return done.stdout


def test_a_trained_grid_ends_with_all_arms_beside_their_controls(tmp_path: Path, tiny_run: dict):
    one = {"extended": {"tokenizer": tiny_run["tokenizer"]}}
    file = _grid(tiny_run, tmp_path, tokenizers=one)
    assert "leaderboard" in _invoke("compare", file, "--plan")
    assert "the best of 2 is" in _invoke("compare", file)
    stages = ("model", "corpus", "tokenizer", "embedding", "pretraining")
    # Two cells, a control on the same bytes and one of equal cost.
    assert [len(_attempts(stage)) for stage in stages] == [1, 1, 1, 2, 4]

    [manifest] = _attempts("leaderboard")
    folder = open_artifact(read_artifact(settings_store().uri(manifest.rpartition("/")[0])))
    board = read_table(folder / "leaderboard.parquet").to_pylist()
    kinds = {row["arm"]: row["kind"] for row in board}
    assert sorted(kinds.values()) == ["control_bytes", "control_flops", "source", *4 * ["swapped"]]
    metrics = {row["metric"] for row in board if row["arm"] == "extended mean 0"}
    assert {"bits_per_byte_vs_control_bytes", "bits_per_byte_vs_control_flops"} <= metrics
    assert "<svg" in (folder / "leaderboard.html").read_text(encoding="utf-8")

    planned = _invoke("compare", file, "--plan").splitlines()
    assert [line for line in planned if " run " in line or " depends " in line] == []


def _shown_in_prefect(monkeypatch: pytest.MonkeyPatch, key: str) -> list[str]:
    """What the runs of a test left under a key, by a new server on the same records."""
    monkeypatch.setenv("PREFECT_HOME", str(embedded_home()))
    with prefect_server():
        url = f"{os.environ['PREFECT_API_URL']}/artifacts/filter"
        answer = httpx.post(url, json={"artifacts": {"key": {"any_": [key]}}}, timeout=30)
    answer.raise_for_status()
    return [artifact["data"] for artifact in answer.json()]


@pytest.mark.long
def test_without_training_models_are_compared_as_initialised(
    tmp_path: Path, tiny_run: dict, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    said = _invoke("compare", _grid(tiny_run, tmp_path, pretraining=None))
    assert "the best of 4 is" in said
    assert "before any training" in said
    assert _attempts("pretraining") == []
    assert [len(_attempts(stage)) for stage in ("tokenizer", "embedding")] == [2, 4]

    [shown] = _shown_in_prefect(monkeypatch, "leaderboard")
    [manifest] = _attempts("leaderboard")
    board = settings_store().uri(manifest.rpartition("/")[0])
    assert f"page: `{board}/leaderboard.html`" in shown
    assert NOTHING_TRAINED in shown
    assert "there are no controls" in " ".join(said.split())
    for arm in product(("extended", "bytes"), ("composed", "mean")):
        assert "| {} | {} |".format(*arm) in shown
