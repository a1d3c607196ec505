"""Freeze what deepfocus 1.0.1 makes of given vectors, for test_embedding_focus.py.

Run in an environment with deepfocus, entmax, fastdist and torch; writes deepfocus.npz beside it.
"""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from deepfocus.focus import focus_additional_token_initialization

rng = np.random.default_rng(0)
# 90 shared tokens and 40 new ones in clusters, so that some cosines are near 1 and many are not.
centres = rng.normal(size=(8, 20))
vectors = (centres[rng.integers(8, size=130)] + 0.7 * rng.normal(size=(130, 20))).astype("f4")
shared = rng.normal(size=(90, 12)).astype("f4")

overlap = {
    str(i): SimpleNamespace(
        auxiliary_embedding=vectors[i], source_embedding=torch.from_numpy(shared[i])
    )
    for i in range(90)
}
new = {
    str(i): SimpleNamespace(auxiliary_embedding=vectors[i], target=SimpleNamespace(id=i))
    for i in range(90, 130)
}
made = focus_additional_token_initialization(overlap, new, torch.zeros(130, 12))
np.savez_compressed(
    Path(__file__).parent / "deepfocus.npz",
    vectors_WA=vectors,
    shared_VD=shared,
    made_KD=made[90:].numpy(),
)
