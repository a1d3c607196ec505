"""Text that word vectors are trained on, and catalogues that hold translations."""

import struct
from pathlib import Path

import numpy as np
import pytest

from tasks.embedding.gettext_catalogues import iter_catalogue_pairs
from tasks.embedding.token_vectors import TooLittleTextError
from tasks.embedding.trained_words import TrainingTextError, first_lines, train_word_model
from tasks.embedding.word_alignment import ParallelTextError

SETTINGS = {
    "dimensions": 8, "epochs": 4, "window_words": 3, "min_count": 2, "n_negatives": 3,
    "max_ngram_characters": 4, "n_buckets": 50,
}  # fmt: skip


def catalogue(pairs: list[tuple[bytes, bytes]], order: str = "<") -> bytes:
    """A .mo file: a head, two tables of lengths and places, the strings."""
    at = 28 + 16 * len(pairs)
    tables, strings = b"", b""
    for side in zip(*pairs, strict=True):
        for text in side:
            tables += struct.pack(f"{order}2I", len(text), at + len(strings))
            strings += text + b"\0"
    head = (0x950412DE, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, at)
    return struct.pack(f"{order}7I", *head) + tables + strings


def read(path: Path) -> list[tuple[str, str]]:
    batches = iter_catalogue_pairs([path], batch_pairs=2)
    return [pair for batch in batches for pair in zip(*batch, strict=True)]


@pytest.mark.parametrize("order", ["<", ">"])
def test_catalogue_by_hand(tmp_path: Path, order: str):
    pairs = [
        (b"", b"Content-Type: text/plain; charset=ISO-8859-1\n"),
        (b"%d file\0%d files", "%d Datei\0%d Dateien".encode("latin-1")),
        (b"_Open", "\xd6_ffnen".encode("latin-1")),
        (b"menu\x04Save as\n", "Speichern unter\n".encode("latin-1")),
        (b"one\ntwo\n", b"eins\nzwei\n"),
        (b"one\ntwo\n ", b"eins und zwei"),
        (b"a_b c_d", b"a_b c_d"),
        (b"untranslated", b""),
    ]
    (tmp_path / "a.mo").write_bytes(catalogue(pairs, order))
    assert read(tmp_path / "a.mo") == [
        ("%d file", "%d Datei"),
        ("%d files", "%d Dateien"),
        ("Open", "Öffnen"),
        ("Save as", "Speichern unter"),
        ("one", "eins"),
        ("two", "zwei"),
        ("one two", "eins und zwei"),
        ("a_b c_d", "a_b c_d"),
    ]


@pytest.mark.parametrize("data", [b"", b"msgid: no catalogue at all, but a text", b"cut"])
def test_what_is_no_catalogue_is_refused(tmp_path: Path, data: bytes):
    whole = catalogue([(b"a", b"b"), (b"c", b"d")])
    (tmp_path / "a.mo").write_bytes(whole[:-3] if data == b"cut" else data)
    with pytest.raises(ParallelTextError, match=r"a\.mo cannot be read as a gettext catalogue"):
        read(tmp_path / "a.mo")


def test_first_lines_up_to_a_budget(tmp_path: Path):
    (tmp_path / "t.txt").write_text("für\nvier\nfünf\n")
    assert list(first_lines(tmp_path / "t.txt", 5)) == ["für\n"]
    assert list(first_lines(tmp_path / "t.txt", 6)) == ["für\n", "vier\n"]
    (tmp_path / "t.txt").write_bytes(b"\xff")
    with pytest.raises(TrainingTextError, match=r"t\.txt cannot be read"):
        list(first_lines(tmp_path / "t.txt", 9))


def test_words_get_vectors_without_their_punctuation_and_twice_the_same():
    pytest.importorskip("fasttext")
    texts = ["Der Hund bellt.", "Die Katze (nie) bellt, der Hund schon.", "Der Hund."] * 20
    once, again = (train_word_model(texts, "vectors", **SETTINGS) for _ in "12")
    counts = dict(zip(once.words, once.counts.tolist(), strict=True))
    assert counts == {
        "Hund": 60, ".": 60, "</s>": 60, "Der": 40, "bellt": 40,
        "Die": 20, "Katze": 20, "(": 20, "nie": 20, ")": 20, ",": 20, "der": 20, "schon": 20,
    }  # fmt: skip
    strings = ["Hund", "Hunde", "nie"]
    np.testing.assert_array_equal(once.vectors(strings), again.vectors(strings))
    assert once.vectors(strings).any(axis=1).all()


def test_rare_words_are_counted_in_the_error():
    pytest.importorskip("fasttext")
    with pytest.raises(TooLittleTextError, match="5 words to train vectors on occurs 1 times, and"):
        train_word_model(["one two, three", "four"], "vectors", **SETTINGS)
    with pytest.raises(TooLittleTextError, match="0 words to train vectors on occurs 0 times"):
        train_word_model([], "vectors", **SETTINGS)
