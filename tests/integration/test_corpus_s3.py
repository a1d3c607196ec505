"""Files in a bucket are a source like local ones: listed, hashed once, read from a cached copy."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from infra.artifacts import open_artifact
from infra.errors import StoreError
from infra.settings import get_settings
from infra.source_files import list_files, sha256_of_all
from tasks.corpus.config import CorpusConfig
from tasks.corpus.errors import SourceNotFoundError
from tasks.corpus.task import lock_corpus, sample_corpus


@pytest.fixture
def bucket(s3: Any) -> Any:
    """A client, and a bucket of that name."""
    s3.create_bucket(Bucket="texts")
    return s3


def config_for(path: str) -> CorpusConfig:
    source = {"kind": "files", "name": "files", "paths": [path]}
    return CorpusConfig.model_validate(
        {"sources": [source], "min_document_bytes": 5, "heldout_fraction": 0.0}
    )


def test_a_bucket_gives_the_same_corpus_as_a_folder(bucket: Any, tmp_path: Path):
    for name, text in (("a.txt", "Text eins.\n"), ("deep/b.txt", "Text zwei.\n")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
        bucket.put_object(Bucket="texts", Key=f"de/{name}", Body=text.encode())
    remote, local = config_for("s3://texts/de/**/*.txt"), config_for(f"{tmp_path}/**/*.txt")
    lock = lock_corpus(remote)
    assert lock.digest == lock_corpus(local).digest
    corpus = sample_corpus(remote, lock)
    rows = pq.read_table(open_artifact(corpus) / "train-00000.parquet").to_pylist()
    assert {row["text"] for row in rows} == {"Text eins.\n", "Text zwei.\n"}
    assert sample_corpus(local, lock_corpus(local)).uri == corpus.uri


def test_an_object_written_anew_is_seen(bucket: Any):
    put = bucket.put_object
    put(Bucket="texts", Key="a.jsonl", Body=json.dumps({"text": "Fassung A"}).encode())
    (first,) = list_files("s3://texts/a.jsonl")
    hashes = sha256_of_all([first])
    assert sha256_of_all(list_files("s3://texts/a.jsonl")) == hashes
    put(Bucket="texts", Key="a.jsonl", Body=json.dumps({"text": "Fassung B"}).encode())
    assert sha256_of_all(list_files("s3://texts/a.jsonl")) != hashes


def test_copies_that_were_let_go_are_fetched_again_when_they_are_read(
    bucket: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TOKGRAFT_CACHE_BYTES", "25")  # of 11 bytes each: two at a time
    get_settings.cache_clear()
    for number in range(4):
        bucket.put_object(Bucket="texts", Key=f"{number}.txt", Body=f"Text Nr. {number}\n".encode())
    config = config_for("s3://texts/*.txt")
    lock = lock_corpus(config)
    assert len(copies()) == 2
    # A second look knows the hashes of objects that stand as they stood, and fetches none.
    oldest = min(path.stat().st_mtime_ns for path in copies())
    assert lock_corpus(config).uri == lock.uri
    assert min(path.stat().st_mtime_ns for path in copies()) == oldest
    corpus = sample_corpus(config, lock)
    rows = pq.read_table(open_artifact(corpus) / "train-00000.parquet").to_pylist()
    assert {row["text"] for row in rows} == {f"Text Nr. {number}\n" for number in range(4)}
    bucket.put_object(Bucket="texts", Key="4.txt", Body=b"Text Nr. 4\n")
    lock_corpus(config)
    assert len(copies()) == 2


def copies() -> list[Path]:
    return list((get_settings().cache_dir / "downloads").glob("*/*"))


@pytest.mark.usefixtures("bucket")
def test_a_missing_object_and_a_missing_bucket_are_told():
    with pytest.raises(SourceNotFoundError, match="matches no file"):
        lock_corpus(config_for("s3://texts/none/*.txt"))
    with pytest.raises((SourceNotFoundError, StoreError), match="nowhere"):
        lock_corpus(config_for("s3://nowhere/a.txt"))
