"""The two doors on real files: content, account, determinism, cache, and bad input."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.artifacts import Artifact, open_artifact
from infra.errors import InfraError
from tasks.corpus.config import CorpusConfig
from tasks.corpus.errors import (
    ChangedSourceError,
    CorpusTooSmallError,
    EmptySourceError,
    SourceNotFoundError,
    UnknownFormatError,
    UnreadableFileError,
)
from tasks.corpus.task import lock_corpus, sample_corpus
from tasks.shared.run_options import Display, RunOptions, run_options


def config_for(*paths: Path | str, **choices: Any) -> CorpusConfig:
    source = {"kind": "files", "name": "files", "paths": [str(path) for path in paths]}
    source |= choices.pop("source", {})
    choices = {"min_document_bytes": 10, "heldout_fraction": 0.2, **choices}
    return CorpusConfig.model_validate({"sources": [source, *choices.pop("more", [])], **choices})


def run(config: CorpusConfig) -> Artifact:
    return sample_corpus(config, lock_corpus(config))


def rows(corpus: Artifact, side: str) -> list[dict[str, Any]]:
    paths = sorted(open_artifact(corpus).glob(f"{side}-*.parquet"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


@pytest.fixture
def texts(tmp_path: Path, small_corpus_texts: list[str]) -> Path:
    folder = tmp_path / "texts"
    (folder / "deep").mkdir(parents=True)
    for number, text in enumerate(small_corpus_texts):
        (folder / ("deep" if number % 2 else "") / f"{number:03d}.txt").write_text(text)
    return folder


def test_every_document_lands_on_one_side_with_its_text(texts: Path, small_corpus_texts: list[str]):
    corpus = run(config_for(texts / "**/*.txt", duplicate_line_min_bytes=None))
    train, heldout = rows(corpus, "train"), rows(corpus, "heldout")
    assert sorted(row["text"] for row in train + heldout) == sorted(set(small_corpus_texts))
    assert 20 < len(heldout) < 80
    assert {row["suite"] for row in heldout} == {"heldout"}
    assert all(row["n_bytes"] == len(row["text"].encode()) for row in train + heldout)
    read = pq.read_table(open_artifact(corpus) / "sources.parquet").to_pylist()[0]
    assert (read["rule"], read["n_documents"]) == ("read", 240)


def test_lines_of_heldout_text_are_not_in_training_text(texts: Path):
    corpus = run(config_for(texts / "**/*.txt", duplicate_line_min_bytes=12))
    lines = {
        side: {line for row in rows(corpus, side) for line in row["text"].splitlines()}
        for side in ("train", "heldout")
    }
    shared = lines["train"] & lines["heldout"]
    assert all(len(line.encode()) + 1 < 12 for line in shared)


def test_place_and_processes_do_not_change_the_bytes(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from infra.settings import get_settings

    first = run(config_for(texts / "**/*.txt"))
    texts.rename(tmp_path / "moved")
    monkeypatch.setenv("TOKGRAFT_N_PROCESSES", "2")
    monkeypatch.setenv("TOKGRAFT_STORE", str(tmp_path / "another_store"))
    get_settings.cache_clear()
    second = run(config_for(tmp_path / "moved" / "**/*.txt"))
    assert second.digest == first.digest
    assert second.uri != first.uri


def test_files_under_a_relative_path_are_read_where_they_lie_now(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(texts)
    config = config_for("**/*.txt")
    first = lock_corpus(config)
    texts.rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path / "moved")
    assert lock_corpus(config).digest == first.digest
    assert rows(run(config), "train")


def test_unchanged_files_are_cached_and_a_changed_one_is_seen(texts: Path):
    config = config_for(texts / "**/*.txt")
    first = run(config)
    assert run(config).uri == first.uri
    os.utime(texts / "000.txt", (0, 0))
    assert run(config).uri == first.uri
    (texts / "000.txt").write_text("Ein ganz neuer Text, der vorher nicht da war.\n")
    assert run(config).digest != first.digest


def test_formats_side_by_side(tmp_path: Path):
    (tmp_path / "a.md").write_text("# Titel eins\n\nEin Absatz.\n")
    (tmp_path / "b.jsonl").write_text(json.dumps({"text": "Text aus JSON, lang genug."}) + "\n")
    pq.write_table(pa.table({"text": ["Text aus Parquet.", None]}), tmp_path / "c.parquet")
    (tmp_path / "d.html.gz").write_bytes(gzip.compress(b"<p>Text aus HTML.</p>"))
    (tmp_path / "e.txt").write_bytes("Größe in Latin-1".encode("latin-1"))
    corpus = run(config_for(tmp_path / "*.*", heldout_fraction=0.0))
    assert sorted(row["text"] for row in rows(corpus, "train")) == [
        "# Titel eins\n\nEin Absatz.\n",
        "Text aus HTML.\n",
        "Text aus JSON, lang genug.\n",
        "Text aus Parquet.\n",
    ]
    assert rows(corpus, "heldout") == []
    account = pq.read_table(open_artifact(corpus) / "sources.parquet").to_pylist()
    dropped = {row["rule"]: (row["n_documents"], row["n_bytes"]) for row in account}
    assert dropped["not_utf8"] == (1, 16)
    assert dropped["empty"] == (1, 0)


def test_a_heldout_only_source_is_a_suite_of_its_own(texts: Path, tmp_path: Path):
    general = tmp_path / "general.txt"
    general.write_text("Alle Menschen sind frei und gleich an Würde und Rechten geboren.\n")
    suite = {"kind": "files", "name": "udhr", "paths": [str(general)]}
    suite |= {"heldout_only": True, "suite": "general"}
    corpus = run(config_for(texts / "**/*.txt", more=[suite]))
    assert [r["source"] for r in rows(corpus, "heldout") if r["suite"] == "general"] == ["udhr"]
    assert "udhr" not in {row["source"] for row in rows(corpus, "train")}


def test_budget_is_kept(texts: Path):
    corpus = run(config_for(texts / "**/*.txt", budget_bytes=5000, duplicate_line_min_bytes=None))
    assert 5000 <= sum(row["n_bytes"] for row in rows(corpus, "train")) < 6000


def test_the_standard_library_is_a_corpus():
    config = CorpusConfig.model_validate(
        {"sources": [{"kind": "python_standard_library", "name": "library"}]}
    )
    lock = pq.read_table(open_artifact(lock_corpus(config)) / "lock.parquet").to_pylist()
    names = {row["name"] for row in lock}
    assert {"ast.py", "json/decoder.py"} <= names
    assert not any("site-packages" in name or "/tests/" in name for name in names)


def test_a_missing_path_is_named(tmp_path: Path):
    with pytest.raises(SourceNotFoundError, match=r"nowhere/\*\.txt matches no file"):
        lock_corpus(config_for(tmp_path / "nowhere/*.txt"))


def test_an_empty_source_is_named(tmp_path: Path):
    (tmp_path / "a.txt").touch()
    with pytest.raises(EmptySourceError, match="source files has 1 files and no byte"):
        lock_corpus(config_for(tmp_path / "a.txt"))
    (tmp_path / "a.txt").write_text(" \n\n")
    with pytest.raises(EmptySourceError, match="source files gave no text"):
        run(config_for(tmp_path / "a.txt"))


def test_an_unknown_suffix_is_named(tmp_path: Path):
    (tmp_path / "a.docx").write_text("x")
    with pytest.raises(UnknownFormatError, match=r"a\.docx: suffix '\.docx'"):
        lock_corpus(config_for(tmp_path / "*"))
    assert lock_corpus(config_for(tmp_path / "*", source={"format": "txt"})).summary["n_files"] == 1


def test_a_corpus_below_its_budget_states_both_numbers(texts: Path):
    with pytest.raises(CorpusTooSmallError, match=r"holds \d+ bytes.* asks for 10000000;"):
        run(config_for(texts / "**/*.txt", budget_bytes=10_000_000))


def test_nothing_left_for_the_heldout_part_is_an_error(tmp_path: Path):
    (tmp_path / "a.txt").write_text("Ein einziges Dokument.\n")
    with pytest.raises(EmptySourceError, match="no text for kept_"):
        run(config_for(tmp_path / "a.txt"))


@pytest.mark.parametrize("damage", ["cut", "other"])
def test_corrupt_parquet_is_named(tmp_path: Path, damage: str):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["x" * 50] * 100}), path)
    path.write_bytes(path.read_bytes()[:-20] if damage == "cut" else b"no parquet")
    with pytest.raises(UnreadableFileError, match=r"a\.parquet cannot be read as Parquet"):
        run(config_for(path))


def test_parquet_without_the_column_is_named(tmp_path: Path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"body": ["x"], "n": [1]}), path)
    with pytest.raises(UnreadableFileError, match=r"no column 'text'.*body, n"):
        run(config_for(path))
    with pytest.raises(UnreadableFileError, match="column 'n' is int64, not string"):
        run(config_for(path, source={"text_field": "n"}))


def test_broken_gzip_leaves_no_artifact(tmp_path: Path, own_place: Path):
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"text " * 100)[:-4])
    with pytest.raises(UnreadableFileError, match=r"a\.txt\.gz is no whole gzip file"):
        run(config_for(tmp_path / "a.txt.gz"))
    assert not list((own_place / "store" / "corpus").glob("*/*/manifest.json"))


def test_a_file_that_changed_after_the_lock_is_refused(texts: Path):
    config = config_for(texts / "**/*.txt")
    lock = lock_corpus(config)
    (texts / "000.txt").write_text("Anderer Text nach dem Schloss, länger als zuvor.\n")
    with pytest.raises(
        ChangedSourceError, match=r"000\.txt of source files is gone or has changed"
    ):
        sample_corpus(config, lock)


def test_a_file_that_changes_while_it_is_read_is_refused(texts: Path):
    class Meddler(Display):
        def progress(self, stage: str, done: float, total: float, text: str) -> None:
            (texts / "000.txt").write_text("Anderer Text, während gelesen wird, und länger.\n")

    config = config_for(texts / "**/*.txt")
    lock = lock_corpus(config)
    token = run_options.set(RunOptions(display=Meddler()))
    try:
        with pytest.raises(ChangedSourceError, match=r"000\.txt .*has changed"):
            sample_corpus(config, lock)
    finally:
        run_options.reset(token)


def test_an_unreadable_file_is_an_error_of_one_line(texts: Path):
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    (texts / "000.txt").chmod(0)
    with pytest.raises(InfraError, match="refuses access"):
        lock_corpus(config_for(texts / "**/*.txt"))
