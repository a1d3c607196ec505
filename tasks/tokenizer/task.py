"""The doors of the tokenizer: count pre-tokens, then learn a vocabulary from them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from infra.artifacts import Artifact, Attempt, Summary, open_artifact
from infra.parquet import iter_batches, read_table, write_table
from tasks.shared.task import stage
from tasks.tokenizer.config import (
    Bpe,
    Bytes,
    CharacterBpe,
    Extend,
    PretokensConfig,
    ScaffoldBpe,
    SuperwordBpe,
)
from tasks.tokenizer.sampling import take_evenly

if TYPE_CHECKING:
    from tasks.shared.model_shape import ModelShape
    from tasks.tokenizer.pretoken_counts import PretokenCounts
    from tasks.tokenizer.word_rule import WordRule

PRETOKENS_VERSION = 1
"""Raise when the counts would change for the same config and inputs."""
VERSION = 2
"""Raise when the tokenizer would change for the same config and inputs."""

HELDOUT_SUITE = "heldout"
"""The part of the held-out texts that is of the corpus's own kind."""


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
    from tasks.tokenizer.pretokens import PretokenCounter
    from tasks.tokenizer.word_rule import word_rule
    from tasks.tokenizer.worker import ShardCounts, ShardOfText, count_shard

    rule = word_rule(read_tokenizer_file(open_artifact(model, "*.j*")), config.words)
    parts = Parts(attempt.store, attempt.checkpoints_path)
    total, left = ShardCounts(), list[ShardOfText]()
    texts = _files(corpus, "train-*.parquet")
    for number, path in enumerate(texts):
        record = parts.take(f"shard-{number:05d}", attempt.folder)
        if record is not None:
            total = total.plus(ShardCounts(**record))
            continue
        left.append(
            ShardOfText(
                str(path), str(attempt.folder), number, rule.normalizer, rule.pre_tokenizer,
                config.max_pretoken_bytes,
            )
        )  # fmt: skip
    probe = PretokenCounter(rule.normalizer, rule.pre_tokenizer, config.max_pretoken_bytes)
    in_threads = probe.path == "scanner" and rule.normalizer is None
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
    config: Extend | Bpe | ScaffoldBpe | SuperwordBpe | CharacterBpe | Bytes,
    model: Artifact,
    corpus: Artifact,
    *pretokens: Artifact,
) -> Summary:
    """Train the model's new tokenizer on counted words and say what it gains.

    Reads the model's tokenizer files, held-out texts of the corpus, and the counts. Writes files
    that ``AutoTokenizer`` loads, ``vocabulary.parquet``, ``merges.parquet``, ``metrics.parquet``
    (both tokenizers on the held-out texts) and ``source_counts.parquet`` (the source's ids there).
    """
    from tasks.shared.vocabulary_file import read_tokenizer_file
    from tasks.tokenizer.description import describe_tokenizer
    from tasks.tokenizer.folder import Counted, train_in_folder

    # The model's weights are not needed, so they are neither fetched nor hashed.
    source = read_tokenizer_file(open_artifact(model, "*.j*"))
    weights = {} if isinstance(config, Bytes) else config.source_weights
    attempt.progress(0.0, 1.0, "reading counts")
    counted = [Counted(_read_rule(one), _read_counts(one, weights)) for one in pretokens]

    def show(done: int, total: int) -> None:
        attempt.progress(done, total, f"{done:,} tokens")

    trained = train_in_folder(attempt.folder, source, config, counted, show)
    attempt.progress(1.0, 1.0, "describing the new tokenizer")
    held_out = _files(corpus, "heldout-*.parquet")
    sample = list(_evenly(held_out, HELDOUT_SUITE, config.report_bytes))
    described = describe_tokenizer(
        attempt.folder, source, config, trained, counted[-1], sample, _shape(source.folder)
    )
    for name, table in described.tables.items():
        write_table(attempt.folder / f"{name}.parquet", table)
    if trained.splits is not None:
        splits = json.dumps({"splits": trained.splits})
        (attempt.folder / "scaffold.json").write_text(splits + "\n", encoding="utf-8")
    return {"method": config.method, **described.summary}


def _shape(model: Path) -> ModelShape | None:
    """Sizes of the model; ``None`` where what a token costs cannot be told from its config."""
    from transformers import AutoConfig

    from tasks.shared.model_shape import ModelShapeError, model_shape

    config = AutoConfig.from_pretrained(model, local_files_only=True).get_text_config()
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
