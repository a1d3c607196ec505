"""Matching pursuit against mergekit's, on the same rows, one thread each, in processor seconds.

The peer runs in an environment of its own (pip install mergekit==0.1.5 torch==2.13.0), named by
``TOKGRAFT_MERGEKIT_PYTHON``. Rows have a common direction, a falling spectrum and differing norms,
as a model's have.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

N_TARGETS, N_ANCHORS, WIDTH, K = 256, 20_000, 640, 64
PEER = os.environ.get("TOKGRAFT_MERGEKIT_PYTHON", "")

# ru_maxrss starts at what the parent process had; the kernel's own mark of this process does not.
TIMED = """
import re, time, numpy as np, torch
from pathlib import Path
torch.set_num_threads(1)
{imports}
def memory(mark):
    status = Path("/proc/self/status").read_text()
    return int(re.search(mark + r":\\s+(\\d+) kB", status)[1]) / 1000
rows = np.load({rows!r})
targets, anchors = rows["targets"], rows["anchors"]
pursue(targets[:4], anchors, 4)
Path("/proc/self/clear_refs").write_text("5")  # the highest mark falls to what is in use
before, started = memory("VmRSS"), time.process_time()
chosen, weights = pursue(targets, anchors, {k})
seconds = time.process_time() - started
megabytes = memory("VmHWM") - before
np.savez({out!r}, chosen=chosen, weights=weights, seconds=seconds, megabytes=megabytes)
"""
OURS = """
import tasks.embedding.omp as module
def pursue(targets, anchors, k):
    made = module.pursue(targets, anchors, k)
    return made.anchors, made.weights
"""
THEIRS = """
from mergekit.tokensurgeon.omp import batch_omp
def pursue(targets, anchors, k):
    made = batch_omp(torch.from_numpy(targets), torch.from_numpy(anchors), k)
    return [part.numpy() for part in made]
"""


def run(python: str, imports: str, rows: Path, out: Path) -> dict[str, np.ndarray]:
    code = TIMED.format(imports=imports, rows=str(rows), out=str(out), k=K)
    single = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run([python, "-c", code], check=True, env=os.environ | single)
    return dict(np.load(out))


@pytest.mark.skipif(not PEER, reason="TOKGRAFT_MERGEKIT_PYTHON names no environment with mergekit")
def test_a_third_of_mergekits_time_with_the_same_rows(tmp_path: Path):
    draw = np.random.default_rng(0)
    spectrum = np.arange(1, WIDTH + 1) ** -0.3
    made = draw.standard_normal((N_TARGETS + N_ANCHORS, WIDTH)) * spectrum + 0.3 * spectrum
    made = (made * draw.lognormal(0, 0.25, (len(made), 1))).astype(np.float32)
    rows = tmp_path / "rows.npz"
    targets, anchors = made[:N_TARGETS], made[N_TARGETS:]
    np.savez(rows, targets=targets, anchors=anchors)
    ours = run(sys.executable, OURS, rows, tmp_path / "ours.npz")
    theirs = run(PEER, THEIRS, rows, tmp_path / "theirs.npz")

    sums = [np.einsum("kn,knc->kc", m["weights"], anchors[m["chosen"]]) for m in (ours, theirs)]
    equal = np.abs(sums[0] - sums[1]).max(axis=1) < 1e-4
    left = [np.linalg.norm(made - targets, axis=1) for made in sums]
    ratio = float(theirs["seconds"] / ours["seconds"])
    print(  # noqa: T201
        f"\nours {float(ours['seconds']):.2f} s, {float(ours['megabytes']):.0f} MB more; mergekit "
        f"{float(theirs['seconds']):.2f} s, {float(theirs['megabytes']):.0f} MB more; ratio "
        f"{ratio:.1f}; {equal.mean():.1%} of rows equal"
    )
    assert equal.mean() >= 0.99
    assert (left[0] <= left[1] * 1.001).all()
    assert ours["megabytes"] < 1000
    assert ratio > 3
