"""Each stage of the main path, killed at any of its writes and borders, goes on and ends the same.

Which stages there are is read from the main path, and the chances to be killed from a run of each.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows import adapt
from tasks.shared.task import Stage

pytestmark = [
    pytest.mark.long,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(find_spec("fasttext") is None, reason="word_vectors: the extra vectors"),
]

HERE = Path(__file__).parent
STAGES = sorted(
    {value.name for value in vars(adapt).values() if isinstance(value, Stage)} - {"leaderboard"}
)
"""Without the one that ends a run without training."""
DRAWN = {"pretraining": 4}
"""Chances that are drawn, where all would take hours: each try starts Ray twice."""
QUIET = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, write_run: Callable[[Path], dict[str, Any]]
) -> Path:
    """A folder with a run file that calls every stage; the first sweep leaves a whole store."""
    folder = tmp_path_factory.mktemp("sweep")
    run = write_run(folder)
    (folder / "terms.txt").write_text("Bundesministerium\nVerordnung\n")
    run["tokenizer"]["required"] = {"files": [str(folder / "terms.txt")]}
    texts = [path.read_text() for path in sorted((folder / "documents").glob("00*.txt"))]
    (folder / "text.txt").write_text("\n".join(texts))
    vectors = {
        "kind": "trained",
        "text": str(folder / "text.txt"),
        "dimensions": 6,
        "epochs": 2,
        "min_count": 2,
        "n_buckets": 300,
    }
    run["embedding"] = {
        "initialiser": {"method": "ofa", "vectors": vectors},
        "fallback": ["mean_of_pieces", "mean"],
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(run))
    return folder


def sweep(place: Path, stage: str, n_drawn: int) -> list[dict[str, Any]]:
    """Kill runs at chances of a stage, 0 for all; what came of each."""
    command = [sys.executable, str(HERE / "kill_sweep.py"), str(place / "run.yaml"), str(place)]
    done = subprocess.run(
        [*command, str(n_drawn), str(place), stage],
        env={**os.environ, **QUIET}, capture_output=True, text=True, timeout=1700, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_every_chance_of_a_stage_a_run_goes_on(place: Path, stage: str):
    n_drawn = DRAWN.get(stage, 0)
    tried = sweep(place, stage, n_drawn)
    assert [line for line in tried if line["wrong"]] == []
    assert len(tried) == (n_drawn or tried[0]["of"])
    # The least that a stage does, so that the sweep cannot come to miss it unseen.
    assert tried[0]["of"] > 30
    if not n_drawn:
        kinds = {line["name"].split("/")[0] for line in tried}
        assert {
            "before __call__", "after __call__", "before run_call", "after run_call",
            "before write", "after create", f"os.mkdir {stage}", f"open {stage}",
            f"os.link {stage}",
        } <= kinds, sorted(kinds)  # fmt: skip


def test_killed_at_every_chance_where_all_stands_a_run_goes_on(place: Path):
    """Locks look again, and leave what stands as it is."""
    tried = sweep(place, "none", 0)
    assert [line for line in tried if line["wrong"]] == []
    assert len(tried) == tried[0]["of"] > 30
    assert {"before delete", "os.remove model_lock"} <= {
        line["name"].split("/")[0] for line in tried
    }
