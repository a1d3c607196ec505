"""Files of word vectors and of word pairs."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from tasks.embedding.dictionaries import DictionaryError, read_dictionary
from tasks.embedding.word_vectors import WordVectorsError, read_word_vectors

TEXT = "3 2\nder 1 0.5\ndie -1 2e-1\ndas 0 3\n"
DEFINITION = (
    "Haus /haʊs/ <neut, n, sg>\n"
    'house <n>, family home, "note" building\n'
    " [arch.] edifice\n"
    "   Synonyms: {Gebäude}, {Bau}\n"
    "\n see: {Hütte}\n\n"
    "Häuser /hɔøzɜ/ <pl>\n"
)


def binary(words: dict[str, list[float]], newline: bytes) -> bytes:
    width = len(next(iter(words.values())))
    rows = (w.encode() + b" " + np.array(v, "<f4").tobytes() + newline for w, v in words.items())
    return f"{len(words)} {width}\n".encode() + b"".join(rows)


def test_text_with_and_without_a_head(tmp_path: Path):
    for name, text in (("a.vec", TEXT), ("b.txt", TEXT.split("\n", 1)[1])):
        (tmp_path / name).write_text(text)
        read = read_word_vectors(tmp_path / name)
        assert read.words == ("der", "die", "das")
        np.testing.assert_array_equal(
            read.vectors, np.array([[1, 0.5], [-1, 0.2], [0, 3]], np.float32)
        )
        assert read_word_vectors(tmp_path / name, max_words=2).words == ("der", "die")
    np.testing.assert_allclose(read.zipf_weights(), [1, 1 / 2, 1 / 3])


@pytest.mark.parametrize("newline", [b"", b"\n"])
def test_word2vec_binary(tmp_path: Path, newline: bytes):
    words = {"für": [1.0, -2.0, 0.25], "x": [0.0, 1.0, 3.0]}
    (tmp_path / "w.bin").write_bytes(binary(words, newline))
    read = read_word_vectors(tmp_path / "w.bin")
    assert read.words == tuple(words)
    np.testing.assert_array_equal(read.vectors, np.array(list(words.values()), np.float32))


def test_first_of_equal_words_stays(tmp_path: Path):
    (tmp_path / "a.vec").write_text("a 1\nb 2\na 3\n")
    read = read_word_vectors(tmp_path / "a.vec")
    assert read.vectors[read.words.index("a"), 0] == 1
    assert len(read.words) == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.vec", b"2 2\na 1 2\nb 1\n", r"Line 3 of .* is 'b 1'; a line is a word and 2 numbers"),
        ("a.vec", b"a 1 x\n", "Line 1 of"),
        ("a.vec", b"a 1 2\nb 1 nan\n", "vector of 'b' .* not finite"),
        ("a.vec", b"", "holds no words"),
        ("a.vec", b"\xff\xfe 1 2\n", "cannot be read .*UTF-8"),
        ("a.bin", b"", "holds no words"),
        ("a.bin", b"abc", "starts with b''"),
        ("a.bin", binary({"ab": [1.0, 2.0]}, b"\n")[:-4], "ends within word 1 of 1"),
    ],
)
def test_damaged_vectors_are_refused(tmp_path: Path, name: str, content: bytes, message: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WordVectorsError, match=message):
        read_word_vectors(tmp_path / name)


def test_missing_vectors_are_refused(tmp_path: Path):
    with pytest.raises(WordVectorsError, match="check the path"):
        read_word_vectors(tmp_path / "none.vec")


def test_table_of_pairs(tmp_path: Path):
    path = tmp_path / "d.tsv"
    path.write_text("house\tHaus\nfamily home\tHaus\n\nhouse\tHaus\ntree Baum\n")
    pairs = [("house", "Haus"), ("family home", "Haus"), ("tree", "Baum")]
    assert read_dictionary(path) == pairs
    assert read_dictionary(path, reverse=True) == [(b, a) for a, b in pairs]


def dictd(folder: Path, *, packed: bool) -> Path:
    preface = b"00-database-info\nabout\n"
    text = preface + DEFINITION.encode()
    name = "d.dict.dz" if packed else "d.dict"
    (folder / name).write_bytes(gzip.compress(text) if packed else text)
    length = len(DEFINITION.encode())
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    place = f"{digits[len(preface)]}\t{digits[length // 64]}{digits[length % 64]}"
    (folder / "d.index").write_text(f"00databaseinfo\tA\tB\nhaus\t{place}\n")
    return folder / "d.index"


@pytest.mark.parametrize("packed", [True, False])
def test_dictd_pairs_single_words(tmp_path: Path, packed: bool):
    pairs = [("Haus", "house"), ("Haus", "building"), ("Haus", "edifice")]
    assert read_dictionary(dictd(tmp_path, packed=packed)) == pairs


@pytest.mark.parametrize("place", ["head", "data", "checksum", "end"])
def test_a_damaged_archive_is_refused(tmp_path: Path, place: str):
    index, packed = dictd(tmp_path, packed=True), tmp_path / "d.dict.dz"
    whole = bytearray(packed.read_bytes())
    at = {"head": 0, "data": 10, "checksum": len(whole) - 8, "end": len(whole) - 9}[place]
    damaged = whole[:at] if place == "end" else whole[:at] + b"\xff\xff" + whole[at + 2 :]
    packed.write_bytes(damaged)
    with pytest.raises(DictionaryError, match=r"d\.dict\.dz cannot be unpacked .*; fetch it again"):
        read_dictionary(index)


def test_damaged_dictionaries_are_refused(tmp_path: Path):
    table = tmp_path / "d.tsv"
    table.write_text("a\tb\na\tb\tc\n")
    with pytest.raises(DictionaryError, match=r"Line 2 of .*one tab"):
        read_dictionary(table)
    table.write_text("\n")
    with pytest.raises(DictionaryError, match="holds no word pairs"):
        read_dictionary(table)
    index = dictd(tmp_path, packed=False)
    (tmp_path / "d.dict").write_bytes(b"short")
    with pytest.raises(DictionaryError, match=r"Line 2 of .* behind the end"):
        read_dictionary(index)
    index.write_text("haus\t!\tB\n")
    with pytest.raises(DictionaryError, match=r"Line 1 of .*dictd's digits"):
        read_dictionary(index)
    (tmp_path / "d.dict").unlink()
    with pytest.raises(DictionaryError, match=r"neither d\.dict\.dz nor d\.dict"):
        read_dictionary(index)
