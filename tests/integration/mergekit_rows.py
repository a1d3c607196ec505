"""Rows by tokgraft of what ``make_mergekit_smollm2.py`` gives to mergekit, and how both differ."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from infra.artifacts import open_artifact
from infra.weights import TensorFolder
from tasks.embedding.anchors import Anchors
from tasks.embedding.interpolation import interpolate
from tasks.embedding.mean import mean_rows
from tasks.embedding.mean_of_pieces import uniform_weights
from tasks.embedding.omp import omp
from tasks.embedding.pieces import Pieces
from tasks.model.config import ModelConfig
from tasks.model.task import import_model, lock_model
from tasks.shared.vocabulary import Segmenter

K = 64
WEIGHTINGS = {
    "distance_proportional": "inverse_distance",
    "barycentric": "barycentric",
    "least_squares": "least_squares",
}
Rows = np.ndarray


def fetched(config: ModelConfig) -> tuple[Path, Rows]:
    """A model's folder, and its input rows."""
    folder = open_artifact(import_model(config, lock_model(config)))
    return folder, TensorFolder(folder).get("model.embed_tokens.weight").float().numpy()


def head_of(rows_ND: Rows) -> Rows:
    factors_D = 1 + np.arange(rows_ND.shape[1], dtype=np.float32) % 3
    return rows_ND[:, ::-1] * factors_D


def differences(
    peer: dict[str, Rows], smollm2: Path, source_VD: Rows, texts: list[bytes], donor: tuple
) -> Iterator[tuple[str, np.ndarray]]:
    """For each method and part, how far the most distant numbers of each row are apart.

    Args:
        peer: mergekit's rows, or their first columns.
        smollm2: the source model.
        source_VD: its input rows.
        texts: of the new tokens.
        donor: its input rows of new tokens and of shared ones, and the source's ids of these.
    """
    pieces = Pieces.from_lists(Segmenter(smollm2).segment_all(texts))
    targets_KC, donor_AC, ids_A = donor
    for part, of in (("input", np.ascontiguousarray), ("head", head_of)):
        rows_VD = of(source_VD)
        anchors = Anchors(of(donor_AC), rows_VD[ids_A], ids_A.astype(np.int32))
        for name, made_KD in _made(rows_VD, of(targets_KC), anchors, pieces):
            peer_KC = peer[f"{name}_{part}"]
            differ_K = np.abs(made_KD[:, : peer_KC.shape[1]] - peer_KC).max(axis=1)
            yield f"{name}_{part}", differ_K


def _made(
    rows_VD: Rows, targets_KC: Rows, anchors: Anchors, pieces: Pieces
) -> Iterator[tuple[str, Rows]]:
    yield "mean", mean_rows(rows_VD, len(targets_KC))
    yield "subword_mean", uniform_weights(pieces).rows(rows_VD)
    yield "omp", omp(targets_KC, anchors, K)[0].rows(rows_VD)
    for metric in ("euclidean", "cosine"):
        for theirs, weighting in WEIGHTINGS.items():
            weights = interpolate(targets_KC, anchors, K, metric, weighting)
            yield f"{metric}_{theirs}", weights.rows(rows_VD)
