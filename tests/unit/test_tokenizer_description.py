"""Tables, reachability, samples and bytes per token."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from tasks.shared.byte_alphabet import BYTE_CHARACTERS
from tasks.shared.model_shape import ModelShape
from tasks.shared.vocabulary import Segmenter, Vocabulary, read_vocabulary
from tasks.shared.vocabulary_file import read_tokenizer_file
from tasks.tokenizer.checks import check_extension, check_ids
from tasks.tokenizer.config import Extend, ScaffoldBpe
from tasks.tokenizer.description import describe_tokenizer
from tasks.tokenizer.errors import BrokenTokenizerError
from tasks.tokenizer.reachability import find_reachable
from tasks.tokenizer.sampling import take_evenly

SHAPE = ModelShape(32, 2, 64, 4, 2, 8, tied=True)


def byte_level(folder: Path, *merges: tuple[str, str]) -> Path:
    vocab = {c: i for i, c in enumerate(BYTE_CHARACTERS)}
    for left, right in merges:
        vocab.setdefault(left + right, len(vocab))
    tokenizer = Tokenizer(models.BPE(vocab, list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_tokens_that_no_text_can_produce_are_found(tmp_path: Path):
    # 12 is cut before merges; bc is always taken by ab... only as part of abc, so it stays.
    merges = [("1", "2"), ("Ã", "¼"), ("â", "Ĥ"), ("¬", "Ã"), ("a", "b"), ("b", "c"), ("a", "bc")]
    folder = byte_level(tmp_path, *merges)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    vocabulary = read_vocabulary(folder)
    reachable = find_reachable(tokenizer, Segmenter(folder), vocabulary, byte_level=True)
    assert [vocabulary.token_bytes[i] for i in np.flatnonzero(~reachable)] == [
        *(bytes([b]) for b in (0xC0, 0xC1, *range(0xF5, 0x100))),
        *(b"12", b"abc"),
    ]


def test_an_extension_is_described_row_by_row(
    tmp_path: Path,
    tiny_model_folder: Path,
    small_corpus_texts: list[str],
    train_tokenizer_in: Callable,
):
    source, config = read_tokenizer_file(tiny_model_folder), Extend(n_new_tokens=50)
    trained, counted = train_tokenizer_in(tmp_path, source, config, small_corpus_texts)
    sample = small_corpus_texts[:40]
    described = describe_tokenizer(tmp_path, source, config, trained, counted, sample, SHAPE)
    n_old = len(read_vocabulary(tiny_model_folder))
    rows = described.tables["vocabulary"].to_pylist()
    assert [row["id"] for row in rows] == list(range(n_old + 50))
    assert [row["is_new"] for row in rows] == [False] * n_old + [True] * 50
    assert {row["formation"] for row in rows} == {"special", "byte", "merge"}
    assert all(row["formation"] == "merge" and row["reachable"] for row in rows[n_old:])
    merges = described.tables["merges"]
    merge = merges.to_pylist()[-1]
    assert merge["rank"] == merges.num_rows - 1 == rows[-1]["rank"]
    parts = [rows[merge[side]]["bytes"] for side in ("left_id", "right_id")]
    assert b"".join(parts) == rows[merge["result_id"]]["bytes"] == rows[-1]["bytes"]
    assert described.summary["n_new_tokens"] == 50
    assert described.summary["n_missing_bytes"] == 0
    # Everything that is left at the end spells the training text.
    spelled = sum(row["left"] * len(row["bytes"]) for row in rows if row["bytes"] is not None)
    assert spelled == sum(len(text.encode()) for text in small_corpus_texts)
    n_tokens = sum(row["count"] for row in rows)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert n_tokens == sum(len(tokenizer.encode(text).ids) for text in sample)
    n_bytes = sum(len(text.encode()) for text in sample)
    assert described.summary["bytes_per_token"] == n_bytes / n_tokens
    measured = {(r["tokenizer"], r["metric"]): r["value"]
                for r in described.tables["metrics"].to_pylist()}  # fmt: skip
    assert measured["new", "bytes_per_token"] == n_bytes / n_tokens
    assert measured["new", "nsl"] < 1
    sizes = described.tables["sizes"].to_pylist()
    assert sizes[0]["vocabulary_size"] == n_old
    assert sizes[0]["nsl"] == 1  # with no new token, the source's own tokens
    assert sizes[-1]["vocabulary_size"] == n_old + 50
    assert sizes[-1]["n_tokens"] == n_tokens
    assert described.summary["recommended_size"] in [row["vocabulary_size"] for row in sizes]


def test_scaffold_tokens_are_named_and_stand_last(
    tmp_path: Path,
    tiny_model_folder: Path,
    small_corpus_texts: list[str],
    train_tokenizer_in: Callable,
):
    source, config = read_tokenizer_file(tiny_model_folder), ScaffoldBpe(vocabulary_size=350)
    trained, counted = train_tokenizer_in(tmp_path, source, config, small_corpus_texts)
    described = describe_tokenizer(
        tmp_path, source, config, trained, counted, small_corpus_texts, SHAPE
    )
    rows = described.tables["vocabulary"].to_pylist()
    is_scaffold = [row["formation"] == "scaffold" for row in rows]
    assert is_scaffold == [False] * 350 + [True] * (len(rows) - 350)
    assert described.summary["n_scaffolds"] == len(rows) - 350 > 0
    assert all(row["reachable"] for row in rows if row["formation"] == "merge")
    assert trained.scaffolds is not None
    for scaffold, parts in trained.scaffolds.splits.items():
        assert b"".join(rows[part]["bytes"] for part in parts) == rows[scaffold]["bytes"]
        assert max(parts) < 350


def test_an_extension_that_changed_something_old_is_refused():
    old = Vocabulary((b"a", b"b"), ("a", "b"), {}, {})
    new = Vocabulary((b"a", b"x", b"ab"), ("a", "x", "ab"), {}, {})
    with pytest.raises(BrokenTokenizerError, match="did not keep: bytes of old ids, text of old"):
        check_extension(old, new, 1)


def test_ids_that_the_library_would_change_are_refused(tmp_path: Path):
    folder = byte_level(tmp_path)
    parsed = json.loads((folder / "tokenizer.json").read_text())
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    parsed["added_tokens"] = [{"id": 300, "content": "<end>", **flags, "special": True}]
    (folder / "tokenizer.json").write_text(json.dumps(parsed))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    with pytest.raises(BrokenTokenizerError, match=r"1 tokens change their id .*<end>"):
        check_ids(tokenizer, read_vocabulary(folder))


def test_a_sample_is_spread_over_the_whole_corpus():
    documents = [(str(i), 10) for i in range(100)]
    assert list(take_evenly(documents, 1000, 100)) == [str(i) for i in range(0, 100, 10)]
    assert list(take_evenly(documents, 1000, None)) == [text for text, _ in documents]
    assert list(take_evenly(documents, 1000, 5000)) == [text for text, _ in documents]
