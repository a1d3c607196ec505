"""Matching pursuit on a real donor: 16,384 tokens of Gemma 3 270M in SmolLM2's rows, two cores.

Both models come from the package index, as ``configs/compare_donor.yaml`` names them (0.3 GB).
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flows.compare_config import CompareConfig
from flows.run_config import load_config
from infra.artifacts import open_artifact
from tasks.embedding.worker import read_rows
from tasks.model.task import import_model, lock_model
from tasks.shared.model_rows import find_row_names
from tasks.shared.vocabulary import match_ids, read_vocabulary

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]

RUN_FILE = Path(__file__).parents[2] / "configs" / "compare_donor.yaml"
N_TARGETS, N_CHECKED, K, THREADS = 16_384, 32, 64, 2
GERMAN = re.compile(rb" ?(?:[A-Za-z]|\xc3[\x84\x96\x9c\x9f\xa4\xb6\xbc])+")
"""Words and parts of words in the letters that German has."""

TIMED = """
import json, time, numpy as np, torch
from tasks.embedding.omp import pursue
torch.set_num_threads({threads})
def peak():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM"))
rows = np.load({rows!r})
targets, anchors = rows["targets"], rows["anchors"]
pursue(targets[:4], anchors, 4)
before, started, used = peak(), time.perf_counter(), time.process_time()
made = pursue(targets, anchors, {k})
seconds, used = time.perf_counter() - started, time.process_time() - used
np.savez({out!r}, anchors=made.anchors, weights=made.weights, residual=made.residual,
         seconds=seconds, used=used, megabytes=peak(), before=before)
"""


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Gemma's rows of tokens that SmolLM2 lacks, and of tokens that both have."""
    grid = load_config(RUN_FILE, CompareConfig)
    assert grid.donor is not None
    source, donor = (
        open_artifact(import_model(config, lock_model(config)))
        for config in (grid.model, grid.donor)
    )
    theirs = read_vocabulary(donor)
    match = match_ids(read_vocabulary(source), theirs)
    lacking = [
        i for i in np.flatnonzero(match < 0) if GERMAN.fullmatch(theirs.token_bytes[i] or b"")
    ]
    rows_VC = read_rows(donor, find_row_names(donor), len(theirs)).input
    path = tmp_path / "rows.npz"
    np.savez(path, targets=rows_VC[lacking[:N_TARGETS]], anchors=rows_VC[match >= 0])
    return path


def pursue_plainly(targets_KC: np.ndarray, anchors_AC: np.ndarray, k: int) -> np.ndarray:
    """The definition: take the anchor of the largest product, fit all taken, repeat."""
    sums_KC = np.zeros(targets_KC.shape)
    for i, target_C in enumerate(targets_KC.astype(np.float64)):
        chosen, left_C = list[int](), target_C
        for _ in range(k):
            chosen.append(int(np.abs(anchors_AC @ left_C).argmax()))
            weights = np.linalg.lstsq(anchors_AC[chosen].T, target_C, rcond=None)[0]
            left_C = target_C - weights @ anchors_AC[chosen]
        sums_KC[i] = target_C - left_C
    return sums_KC


def test_sixteen_thousand_rows_in_ten_minutes(rows: Path, tmp_path: Path):
    out, data = tmp_path / "made.npz", dict(np.load(rows))
    targets, anchors = data["targets"], data["anchors"]
    assert len(targets) == N_TARGETS
    code = TIMED.format(threads=THREADS, rows=str(rows), out=str(out), k=K)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        env=os.environ | dict.fromkeys(names, str(THREADS)),
    )
    made = dict(np.load(out))

    left = made["residual"] / np.linalg.norm(targets, axis=1)
    some = slice(None, None, N_TARGETS // N_CHECKED)
    sums = np.einsum("kn,knc->kc", made["weights"][some], anchors[made["anchors"][some]])
    plain = pursue_plainly(targets[some], anchors.astype(np.float64), K)
    sizes = np.linalg.norm(targets[some], axis=1)
    equal = np.linalg.norm(sums - plain, axis=1) < 1e-4 * sizes
    worse = np.linalg.norm(sums - targets[some], axis=1) / np.linalg.norm(
        plain - targets[some], axis=1
    )
    print(  # noqa: T201
        f"\n{len(targets):,} targets, {len(anchors):,} anchors, width {targets.shape[1]}, k {K}: "
        f"{float(made['used']):.0f} processor seconds, {float(made['seconds']):.0f} s with "
        f"{THREADS} threads beside whatever else ran; peak memory "
        f"{float(made['megabytes']):.0f} MB, of it {float(made['before']):.0f} MB before; median "
        f"residual {np.median(left):.3f} of the row; {equal.mean():.1%} of rows as by definition"
    )
    assert equal.mean() >= 0.95
    assert worse.max() < 1.001
    assert made["megabytes"] - made["before"] < 1000
