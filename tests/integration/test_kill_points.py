"""Killed at any write and between any two stages, a run goes on and ends the same."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

HERE = Path(__file__).parent
QUIET = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def sweep(folder: Path, run: dict, n_tries: int) -> list[dict]:
    """Kill the small pipeline at many chances; what came of each."""
    documents = run["corpus"]["sources"][0]
    documents["paths"] = [path.replace("*", "0[0-3]*") for path in documents["paths"]]
    (folder / "run.yaml").write_text(yaml.safe_dump(run))
    command = [sys.executable, str(HERE / "kill_sweep.py"), str(folder / "run.yaml"), str(folder)]
    done = subprocess.run(
        [*command, str(n_tries)],
        env={**os.environ, **QUIET}, capture_output=True, text=True, timeout=1500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.timeout(600)
def test_killed_at_a_few_chances_a_pipeline_goes_on(tmp_path: Path, tiny_run: dict):
    tried = sweep(tmp_path, tiny_run, n_tries=6)
    assert len(tried) >= 6
    assert [line for line in tried if line["wrong"]] == []


@pytest.mark.slow
@pytest.mark.timeout(1600)
def test_killed_at_every_chance_a_pipeline_goes_on(tmp_path: Path, tiny_run: dict):
    tried = sweep(tmp_path, tiny_run, n_tries=0)
    assert len(tried) == tried[0]["of"]
    assert [line for line in tried if line["wrong"]] == []
    # What the chances are, so that the sweep cannot come to miss a kind of them unseen.
    kinds = {" ".join(line["name"].split()[:2]).split("/")[0] for line in tried}
    for kind in ("before write", "after create", "before run_call", "after __call__",
                 "before write_table", "after close", "os.link corpus", "os.rename tokens",
                 "open corpus", "os.mkdir tokens"):  # fmt: skip
        assert kind in kinds, sorted(kinds)
