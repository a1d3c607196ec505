"""The door of the tokenizer stage."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from infra.artifacts import Artifact, Attempt, Summary, open_artifact
from infra.parquet import iter_batches, write_table
from tasks.shared.task import stage
from tasks.tokenizer.config import Bpe, Extend
from tasks.tokenizer.sampling import take_evenly

VERSION = 1
"""Raise when the tokenizer would change for the same config and inputs."""

HELDOUT_SUITE = "heldout"
"""The part of the held-out texts that is of the corpus's own kind."""


@stage(name="tokenizer", version=VERSION)
def train_tokenizer(
    attempt: Attempt, config: Extend | Bpe, model: Artifact, corpus: Artifact
) -> Summary:
    """Train the model's new tokenizer on the corpus and say what it gains.

    Reads the model's tokenizer files and the corpus's train and held-out texts. Writes files that
    ``AutoTokenizer`` loads, ``vocabulary.parquet`` and ``merges.parquet``. Returns sizes, and
    bytes per token of both tokenizers on held-out text.
    """
    from tokenizers import Tokenizer

    from tasks.shared.vocabulary_file import read_tokenizer_file
    from tasks.tokenizer.compression import bytes_per_token
    from tasks.tokenizer.description import describe_tokenizer
    from tasks.tokenizer.folder import train_in_folder

    # The model's weights are not needed, so they are neither fetched nor hashed.
    source = read_tokenizer_file(open_artifact(model, "*.j*"))
    train = _files(corpus, "train-*.parquet")
    texts = _CountedTexts(_evenly(train, None, config.train_bytes), attempt)
    train_in_folder(attempt.folder, source, config, texts)

    attempt.progress(1.0, 2.0, "describing the new tokenizer")
    described = describe_tokenizer(attempt.folder, source, config)
    write_table(attempt.folder / "vocabulary.parquet", described.vocabulary)
    write_table(attempt.folder / "merges.parquet", described.merges)

    held_out = _files(corpus, "heldout-*.parquet")
    sample = list(_evenly(held_out, HELDOUT_SUITE, config.report_bytes))
    old = Tokenizer.from_file(str(source.folder / "tokenizer.json"))
    new = Tokenizer.from_file(str(attempt.folder / "tokenizer.json"))
    attempt.progress(2.0, 2.0, "done")
    return {
        "method": config.method,
        **described.counts,
        "n_train_bytes": texts.n_bytes,
        "n_train_documents": texts.n_documents,
        "bytes_per_token": bytes_per_token(new, sample),
        "source_bytes_per_token": bytes_per_token(old, sample),
    }


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


class _CountedTexts:
    """Texts that count themselves and show how far the reader is."""

    def __init__(self, texts: Iterator[str], attempt: Attempt) -> None:
        self._texts = texts
        self._attempt = attempt
        self.n_documents = 0
        self.n_bytes = 0

    def __iter__(self) -> Iterator[str]:
        for text in self._texts:
            self.n_documents += 1
            self.n_bytes += len(text.encode())
            if self.n_documents % 1000 == 0:
                self._attempt.progress(0.0, 2.0, f"{self.n_bytes / 1e6:.0f} MB read")
            yield text
        self._attempt.progress(0.0, 2.0, f"{self.n_bytes / 1e6:.0f} MB read, learning merges")
