"""The whole path on a GPU: training workers, hidden states and measures agree with a CPU's."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from infra.artifacts import open_artifact, read_artifact
from infra.parquet import read_table
from infra.settings import get_settings
from infra.stages import settings_store

pytestmark = [pytest.mark.gpu, pytest.mark.slow, pytest.mark.timeout(1800)]


def run_on(device: str, folder: Path, run: dict, monkeypatch: pytest.MonkeyPatch) -> dict:
    """Run the file on a device in a store of its own; steps, measures, and digest of weights."""
    folder.mkdir()
    file = folder / "run.yaml"
    file.write_text(yaml.safe_dump(run))
    monkeypatch.setenv("TOKGRAFT_STORE", str(folder / "store"))
    monkeypatch.setenv("TOKGRAFT_DEVICE", device)
    get_settings.cache_clear()
    done = subprocess.run(
        [sys.executable, "-c", f"from flows.cli import app; app(['run', {str(file)!r}])"],
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    [pretraining] = attempts("pretraining")
    measures = [read_artifact(uri) for uri in attempts("measured")]
    return {
        "digest": read_artifact(pretraining).digest,
        "steps": read_table(open_artifact(read_artifact(pretraining)) / "metrics.parquet"),
        "bits": sorted(float(m.summary["heldout_bits_per_byte"]) for m in measures),
    }


def attempts(stage: str) -> list[str]:
    store = settings_store()
    return [
        store.uri(file.path.removesuffix("/manifest.json"))
        for file in store.files()
        if file.path.startswith(f"{stage}/")
        and file.path.endswith("manifest.json")
        and "checkpoints" not in file.path
    ]


def test_a_gpu_run_agrees_with_a_cpu_run_and_repeats_itself(tmp_path, tiny_run, monkeypatch):
    tiny_run["embedding"]["initialiser"] = {
        "method": "token_distillation", "n_steps": 20, "windows_per_step": 4, "window_tokens": 32,
        "compute_dtype": "float32",
    }  # fmt: skip
    tiny_run["pretraining"]["compute_dtype"] = "float32"
    tiny_run["evaluation"]["compute_dtype"] = "stored"
    cpu = run_on("cpu", tmp_path / "cpu", tiny_run, monkeypatch)
    gpu = run_on("cuda", tmp_path / "gpu", tiny_run, monkeypatch)
    again = run_on("cuda", tmp_path / "again", tiny_run, monkeypatch)
    assert gpu["digest"] == again["digest"]
    losses = [run["steps"]["loss"].to_pylist() for run in (cpu, gpu)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert gpu["bits"] == pytest.approx(cpu["bits"], rel=1e-3)
