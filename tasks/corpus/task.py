"""Doors of the corpus: which files it is made of, and the text they give."""

import shutil
import sysconfig
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pyarrow as pa

from infra.artifacts import Artifact, Attempt, Summary, open_artifact
from infra.debian_packages import TRANSLATION, DebianFile, fetch_again, resolve
from infra.fetching import fetch, is_of_the_hub
from infra.hub_datasets import split_files
from infra.parallel import map_shards
from infra.parquet import read_table, write_table
from infra.source_files import SourceFile, list_files, local_copy, sha256_of_all
from tasks.corpus.config import (
    CorpusConfig,
    DebianPackages,
    FilesSource,
    HubDataset,
    PythonStandardLibrary,
    Source,
)
from tasks.corpus.errors import ChangedSourceError, EmptySourceError, SourceNotFoundError
from tasks.corpus.formats import format_of
from tasks.shared.task import stage

if TYPE_CHECKING:
    from tasks.corpus.worker import Extracted, Shard

LOCK_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("edition", pa.string()),
        ("name", pa.string()),
        ("format", pa.string()),
        ("version", pa.string()),
        ("sha256", pa.string()),
        ("n_bytes", pa.int64()),
    ]
)
ORIGINS_SCHEMA = pa.schema([("sha256", pa.string()), ("uri", pa.string())])
_NOT_THE_LIBRARY = frozenset({"site-packages", "dist-packages", "__pycache__"})
_TESTS = frozenset({"test", "tests", "idle_test"})


@stage(
    name="corpus_lock",
    version=1,
    volatile=("origins.parquet",),
    refresh=lambda config: config.looks_again,
)
def lock_corpus(attempt: Attempt, config: CorpusConfig) -> Summary:
    """List and hash the files of all sources; write what they are and where they lie.

    ``lock.parquet`` holds no place, so that moving a file changes nothing downstream.
    """
    # A forced or repeated look at packages asks the repositories; a look that only the files of
    # the same corpus ask for does not.
    again = config.refresh == "always" or (
        config.looks_again == "if_missing" and attempt.generation > 1
    )
    attempt.progress(0.0, 1.0, "looking at packages and files")
    packages = _packages(config, again=again)
    rows: list[dict[str, object]] = []
    origins: dict[str, str] = {}
    for source in config.sources:
        found = list(_locked(source, packages))
        if not any(n_bytes for *_, n_bytes, _ in found):
            raise EmptySourceError(
                f"source {source.name} has {len(found)} files and no byte; check where it points "
                "or take it out."
            )
        for edition, name, format, version, sha256, n_bytes, uri in sorted(set(found)):
            values = (source.name, edition, name, format, version, sha256, n_bytes)
            rows.append(dict(zip(LOCK_SCHEMA.names, values, strict=True)))
            origins[sha256] = uri
    write_table(attempt.folder / "lock.parquet", pa.Table.from_pylist(rows, schema=LOCK_SCHEMA))
    places = [{"sha256": sha256, "uri": uri} for sha256, uri in sorted(origins.items())]
    write_table(
        attempt.folder / "origins.parquet", pa.Table.from_pylist(places, schema=ORIGINS_SCHEMA)
    )
    return {
        "n_sources": len(config.sources),
        "n_files": len(rows),
        "n_bytes": sum(int(str(row["n_bytes"])) for row in rows),
    }


_Locked = tuple[str, str, str, str, str, int, str]
"""Edition, name, format, version, sha256, bytes, uri."""


def _packages(config: CorpusConfig, *, again: bool) -> list[DebianFile]:
    """Files of all Debian sources, asked for at once: APT's lists are fetched once a look."""
    sources = [source for source in config.sources if isinstance(source, DebianPackages)]
    if not sources:
        return []
    names = sorted({n for source in sources for n in (*source.packages, *source.english_edition)})
    languages = sorted({s.language for s in sources if s.translated_descriptions})
    return resolve(names, languages, again=again)


def _locked(source: Source, packages: Sequence[DebianFile]) -> Iterator[_Locked]:
    if isinstance(source, HubDataset):
        yield from _of_the_hub(source)
        return
    if not isinstance(source, DebianPackages):
        listed = list(_listed(source))
        hashes = sha256_of_all([file for file, _ in listed])
        for (file, format), sha256 in zip(listed, hashes, strict=True):
            yield ("text", file.name, format, "", sha256, file.n_bytes, file.uri)
        return
    for file in packages:
        wanted = {"text": source.packages, "english": source.english_edition}
        format = "deb"
        if file.name == f"{TRANSLATION}{source.language}" and source.translated_descriptions:
            wanted, format = {"text": (file.name,)}, "apt_descriptions"
        for edition, names in wanted.items():
            if file.name in names:
                known = (file.version, file.sha256, file.n_bytes, file.uri)
                yield (edition, file.name, format, *known)


def _of_the_hub(source: HubDataset) -> Iterator[_Locked]:
    where = source.repo_id, source.revision, source.subset, source.split
    for file in split_files(*where, source.max_files):
        format = source.format or format_of(file.path)
        yield ("text", file.path, format, "", file.sha256, file.n_bytes, file.uri)


def _listed(source: FilesSource | PythonStandardLibrary) -> Iterator[tuple[SourceFile, str]]:
    if isinstance(source, PythonStandardLibrary):
        dropped = _NOT_THE_LIBRARY if source.include_tests else _NOT_THE_LIBRARY | _TESTS
        for file in list_files(f"{sysconfig.get_paths()['stdlib']}/**/*.py"):
            if not dropped & set(PurePosixPath(file.name).parts):
                yield file, "py"
        return
    for pattern in source.paths:
        files = list_files(pattern)
        if not files:
            raise SourceNotFoundError(
                f"source {source.name}: {pattern} matches no file; check the path, and write a "
                "folder's files as FOLDER/**/*.txt."
            )
        for file in files:
            yield file, source.format or format_of(file.name)


@stage(name="corpus", version=1)
def sample_corpus(attempt: Attempt, config: CorpusConfig, lock: Artifact) -> Summary:
    """Read the locked files, drop what the rules drop, split and write the text.

    Writes ``train-*.parquet``, ``heldout-*.parquet`` and ``sources.parquet``, which accounts for
    every document and byte read.
    """
    from tasks.corpus.accounting import Tally, account, check, summarise
    from tasks.corpus.candidates import gather, lines_of
    from tasks.corpus.routing import route
    from tasks.corpus.selection import Limits, select
    from tasks.corpus.worker import extract, write_output

    names = [source.name for source in config.sources]
    scratch = attempt.folder / "scratch"
    scratch.mkdir()
    lock_folder = open_artifact(lock)
    shards = _reading_shards(config, lock_folder, scratch)
    extracted: list[Extracted] = []
    for result in map_shards(extract, shards):
        extracted.append(result)
        done = len(extracted)
        attempt.progress(float(done), float(len(shards)), f"read {shards[done - 1].source.name}")
    _refuse_changed(lock_folder)

    texts = [shard for shard in shards if not shard.is_english_edition]
    tables = [shard.target for shard in texts]
    candidates = gather(
        tables,
        [names.index(shard.source.name) for shard in texts],
        frozenset(i for i, source in enumerate(config.sources) if source.heldout_only),
        config.seed,
        config.heldout_fraction,
    )
    english = {
        names.index(name): lines_of(
            s.target for s in shards if s.is_english_edition and s.source.name == name
        )
        for name in {shard.source.name for shard in shards if shard.is_english_edition}
    }
    limits = Limits(
        config.min_document_bytes,
        config.max_document_bytes,
        config.duplicate_line_min_bytes,
        config.budget_bytes,
    )
    selection = select(candidates, english, limits)
    rejected: Tally = Counter()
    rejected_bytes: Tally = Counter()
    for result, shard in zip(extracted, shards, strict=True):
        if not shard.is_english_edition:
            rejected += result.rejected
            rejected_bytes += result.rejected_bytes
    table = account(names, candidates, selection, rejected, rejected_bytes)
    check(table, config)
    outputs = route(
        tables, candidates, selection, names, [s.suite for s in config.sources], attempt.folder
    )
    for _ in map_shards(write_output, outputs):
        attempt.progress(1.0, 1.0, "writing")
    write_table(attempt.folder / "sources.parquet", table)
    shutil.rmtree(scratch)
    return summarise(table)


def _reading_shards(config: CorpusConfig, lock: Path, scratch: Path) -> "list[Shard]":
    """What the workers read: the lock's files in groups, in the lock's order."""
    from tasks.corpus.sharding import groups
    from tasks.corpus.worker import Item, Shard

    places = read_table(lock / "origins.parquet").to_pylist()
    uri_of = {row["sha256"]: row["uri"] for row in places}
    rows = read_table(lock / "lock.parquet").to_pylist()
    shards: list[Shard] = []
    for source in config.sources:
        for edition in ("english", "text"):
            own = [r for r in rows if r["source"] == source.name and r["edition"] == edition]
            items = [
                Item(r["name"], r["format"], _local_path(r, uri_of[r["sha256"]]), r["n_bytes"])
                for r in own
            ]
            for run in groups([item.n_bytes for item in items]):
                target = scratch / f"read-{len(shards)}.arrow"
                part = tuple(items[i] for i in run)
                shards.append(Shard(source, edition == "english", part, target))
    return shards


def _refuse_changed(lock: Path) -> None:
    """Look once more, now that all is read: a file that changed meanwhile is another corpus."""
    uri_of = {row["sha256"]: row["uri"] for row in read_table(lock / "origins.parquet").to_pylist()}
    for row in read_table(lock / "lock.parquet").to_pylist():
        uri = uri_of[row["sha256"]]
        if not is_of_the_hub(uri):  # there a commit names the content
            _local_path(row, uri)


def _local_path(row: dict[str, str], uri: str) -> Path:
    if row["format"] in ("deb", "apt_descriptions"):
        return fetch_again(row["name"], row["version"], row["sha256"])
    if is_of_the_hub(uri):
        return fetch(uri, row["sha256"])
    path = local_copy(uri, row["sha256"])
    if path is None:
        raise ChangedSourceError(
            f"{uri} of source {row['source']} is gone or has changed since it was locked (sha256 "
            f"{row['sha256'][:16]}); run again, or with --force corpus_lock if refresh is not "
            "always."
        )
    return path
