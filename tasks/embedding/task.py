"""Doors of the embedding stage and of those before it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from infra.artifacts import Artifact, Attempt, Summary, open_artifact
from infra.located_files import (
    Row,
    file_row,
    folder_rows,
    hub_rows,
    is_package_file,
    is_there,
    matching_rows,
)
from infra.parquet import write_table
from tasks.embedding.config import EmbeddingConfig
from tasks.embedding.config_outside import OutsideFiles, OutsidePath
from tasks.embedding.config_vectors import WordTraining
from tasks.embedding.worker import LOCK_STAGE, VECTORS_STAGE
from tasks.shared.errors import InputError
from tasks.shared.run_options import run_options
from tasks.shared.sources import Directory, HubRepository
from tasks.shared.task import stage

if TYPE_CHECKING:
    from tasks.embedding.known import Known
    from tasks.embedding.made_rows import MadeNetwork
    from tasks.embedding.rows import NewRows
    from tasks.shared.model_rows import RowNames

VERSION = 8
"""Raise when the rows would change for the same config and inputs."""
VIEWS = ("neighbours.parquet", "map.parquet", "norms.parquet")


class OutsideFileError(InputError):
    """What an initialiser is to read from outside is not there."""


@stage(
    name=LOCK_STAGE,
    version=1,
    volatile=("origins.parquet",),
    refresh=lambda files: files.refresh,
)
def lock_embedding_files(attempt: Attempt, files: OutsideFiles) -> Summary:
    """Resolve vectors, dictionaries, texts and encoders to files with sha256.

    Writes ``lock.parquet``, which holds no place, and, volatile, where the files lie.
    """
    from tasks.shared.lock_tables import lock_tables

    # A forced look at packages asks the repositories; one that other files ask for does not.
    again = run_options.get().look_again or (
        files.refresh == "if_missing" and attempt.generation > 1
    )
    rows = [row for path in files.paths for row in _located(path, again=again)]
    rows += _encoder_rows(files.encoder)
    lock, origins = lock_tables(rows)
    write_table(attempt.folder / "lock.parquet", lock)
    write_table(attempt.folder / "origins.parquet", origins)
    return {"files": len(rows), "bytes": sum(row["n_bytes"] for row in rows)}


def _located(asked: OutsidePath, *, again: bool) -> Iterator[Row]:
    """Files of one place, named by what they are to the initialiser."""
    if asked.kind == "catalogues":
        found = matching_rows(asked.path, "mo", again=again)
        if not found:
            raise OutsideFileError(
                f"{asked.path} ({asked.role}) matches no file; name .mo files, and write a "
                "folder's as FOLDER/**/*.mo."
            )
        for number, row in enumerate(found):
            yield row | {"source": f"{asked.role}-{number:05d}.mo"}
        return
    suffix = PurePosixPath(asked.path).suffix
    row = _found(asked.path, f"{asked.role}{suffix}", again=again)
    if row is None:
        raise OutsideFileError(
            f"{asked.path} ({asked.role}) does not exist; name a file, local, s3:// or "
            "deb:package/path."
        )
    yield row
    if asked.kind == "dictionary" and suffix == ".index":
        stem = asked.path.removesuffix(suffix)
        beside = (
            _found(f"{stem}{ending}", f"{asked.role}{ending}", again=again)
            for ending in (".dict.dz", ".dict")
        )
        definitions = next((row for row in beside if row is not None), None)
        if definitions is None:
            raise OutsideFileError(
                f"{asked.path} has no definitions: neither .dict.dz nor .dict lies beside it."
            )
        yield definitions


def _found(path: str, name: str, *, again: bool) -> Row | None:
    """One file under the name that the lock gives it, if it is there."""
    if is_package_file(path):
        rows = matching_rows(path, "file", again=again)
        return rows[0] | {"source": name} if len(rows) == 1 else None
    return file_row(path, "file", name) if is_there(path) else None


def _encoder_rows(encoder: Directory | HubRepository | None) -> Iterator[Row]:
    from tasks.embedding.encoder_files import ENCODER_PATTERNS, encoder_files

    if isinstance(encoder, Directory):
        yield from folder_rows(encoder.path, encoder_files)
    elif isinstance(encoder, HubRepository):
        at = encoder.repo_id, encoder.revision
        yield from hub_rows(*at, ENCODER_PATTERNS, encoder_files)


@stage(name=VECTORS_STAGE, version=1)
def train_word_vectors(attempt: Attempt, config: WordTraining, *texts: Artifact) -> Summary:
    """Train vectors of words by fastText, for all initialisers and tokenizers that want the same.

    Texts are corpora, or the lock of one file.
    """
    from tasks.embedding.vectors_worker import train_vectors, write_vectors

    model = train_vectors(config, texts)
    write_vectors(attempt.folder, model)
    return {"role": config.role, "words": len(model.words), "dimensions": model.matrix.shape[1]}


@stage(name="embedding", version=VERSION, volatile=VIEWS)
def initialise_embeddings(
    attempt: Attempt,
    config: EmbeddingConfig,
    model: Artifact,
    tokenizer: Artifact,
    tokens: Artifact,
    corpus: Artifact,
    *others: Artifact,
) -> Summary:
    """Read old rows, make rows for every new token, write them and where each comes from.

    Others are what some initialisers read besides: a donor, vectors of words, a lock of files
    from outside; each is known by its stage.
    """
    import pyarrow as pa

    from infra.settings import get_settings
    from tasks.embedding.rows_worker import RowsJob, compute_on_node, compute_rows, is_trained
    from tasks.shared.model_rows import find_row_names

    job = RowsJob(
        config=config, model=model, tokenizer=tokenizer, tokens=tokens, corpus=corpus,
        others=others,
    )  # fmt: skip
    known = job.known()
    if get_settings().ray_address is not None and is_trained(config):
        computed = compute_on_node(job, attempt.progress)
    else:
        computed = compute_rows(job, known, attempt.progress)
    for name, losses in (("losses", computed.made.losses), ("head_losses", computed.head_losses)):
        if losses is not None:
            write_table(attempt.folder / f"{name}.parquet", pa.table({"loss": losses}))
    if computed.made.network is not None:
        _write_network(attempt.folder, computed.made.network, model)
    names = find_row_names(open_artifact(model))
    return _write(attempt.folder, computed.rows, known, names) | computed.measured


def _write_network(folder: Path, network: MadeNetwork, model: Artifact) -> None:
    """Write it for other runs; the record beside it is for people."""
    import torch

    from infra.weights import save_tensors

    tensors = {name: torch.from_numpy(array) for name, array in network.tensors.items()}
    save_tensors(folder / "network.safetensors", tensors)
    record = {
        "shape": dict(network.shape),
        "model_digest": model.digest,
        "model_origin": model.summary.get("origin"),
    }
    (folder / "network.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


def _write(folder: Path, rows: NewRows, known: Known, names: RowNames) -> Summary:
    import torch

    from infra.parquet import TableWriter
    from infra.weights import save_tensors
    from tasks.embedding.description import describe
    from tasks.embedding.lineage import SCHEMA, lineage_tables
    from tasks.embedding.row_views import row_views

    summary = describe(rows, known.rows, known.plan)
    parts = {
        "input_rows": rows.input,
        "head_rows": rows.head,
        "head_bias": rows.head_bias,
    }
    present = {name: part for name, part in parts.items() if part is not None}
    save_tensors(
        folder / "embeddings.safetensors",
        {name: torch.from_numpy(part) for name, part in present.items()},
    )
    with TableWriter(folder / "lineage.parquet", SCHEMA) as writer:
        for table in lineage_tables(rows, known.source, known.target):
            writer.write(table)
    for name, table in row_views(known, rows).items():
        write_table(folder / f"{name}.parquet", table)
    record = {
        "tie_word_embeddings": rows.head is None,
        "untied_by_method": summary["untied"],
        "n_rows": len(rows.input),
        "source_names": asdict(names),
    }
    (folder / "embedding.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    return summary
