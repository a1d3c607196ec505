"""Initialisers that know words, from files outside to rows, through the doors the flow calls."""

import random
import struct
import tracemalloc
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from flows.run_config import RunConfig
from infra.artifacts import Artifact, open_artifact
from infra.errors import CorruptFileError
from infra.parquet import read_table
from tasks.embedding.config import EmbeddingConfig
from tasks.embedding.dictionaries import DictionaryError
from tasks.embedding.encoder_files import SentenceEncoderError
from tasks.embedding.nearest_tokens import VectorWidthError
from tasks.embedding.prealign import AlignmentDivergedError
from tasks.embedding.task import (
    OutsideFileError,
    initialise_embeddings,
    lock_embedding_files,
)
from tasks.embedding.token_vectors import TooLittleTextError
from tasks.embedding.trained_words import TrainingTextError
from tasks.embedding.word_alignment import ParallelTextError
from tasks.embedding.word_pairs import NoWordsToAlignError
from tasks.embedding.word_vectors import WordVectorsError
from tasks.shared.errors import InputError

needs_fasttext = pytest.mark.skipif(find_spec("fasttext") is None, reason="needs the extra vectors")
PAIRS = {
    "program": "Programm", "file": "Datei", "reads": "liest", "writes": "schreibt",
    "result": "Ergebnis", "directory": "Verzeichnis", "the": "die", "and": "und", "into": "in",
}  # fmt: skip
GERMAN = "Das Programm liest die Datei und schreibt das Ergebnis in ein Verzeichnis Vertrag Seite"
ENGLISH = "The program reads the file and writes the result into a directory value text pieces cuts"
Make = Callable[..., Artifact]
Refused = Callable[[Callable[[], Artifact], type[InputError], str], None]


def vector_file(path: Path, words: str, width: int = 6) -> str:
    rng = random.Random(words)
    rows = [[f"{rng.gauss(0, 1):.4f}" for _ in range(width)] for _ in words.split()]
    lines = [" ".join([word, *row]) for word, row in zip(words.split(), rows, strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def dictionary_file(path: Path, pairs: dict[str, str] = PAIRS) -> str:
    path.write_text("".join(f"{a}\t{b}\n" for a, b in pairs.items()))
    return str(path)


def parallel_files(folder: Path) -> dict[str, str]:
    draw = random.Random(0)
    sides: tuple[list[str], list[str]] = ([], [])
    for _ in range(200):
        pairs = draw.choices(list(PAIRS.items()), k=4)
        for side, words in zip(sides, zip(*pairs, strict=True), strict=True):
            side.append(" ".join(words))
    paths = folder / "lines.en", folder / "lines.de"
    for path, lines in zip(paths, sides, strict=True):
        path.write_text("\n".join(lines) + "\n")
    return {"kind": "lines", "source": str(paths[0]), "target": str(paths[1])}


def catalogue(messages: dict[str, str]) -> bytes:
    """A .mo file by hand: a head, two tables of lengths and places, the strings."""
    texts = {"": "Content-Type: text/plain; charset=UTF-8\n"} | messages
    sides = [[text.encode() for text in side] for side in (texts.keys(), texts.values())]
    at = 28 + 16 * len(texts)
    tables, strings = b"", b""
    for side in sides:
        for text in side:
            tables += struct.pack("<2I", len(text), at + len(strings))
            strings += text + b"\0"
    head = struct.pack("<7I", 0x950412DE, 0, len(texts), 28, 28 + 8 * len(texts), 0, at)
    return head + tables + strings


def encoder_folder(folder: Path) -> str:
    words = ["[PAD]", "[UNK]", *dict.fromkeys(f"{GERMAN} {ENGLISH}".split())]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    fast.save_pretrained(folder)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(vocab_size=len(words), intermediate_size=32, **shape)
    BertModel(config).save_pretrained(folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    return str(folder)


TRAINED = {"kind": "trained", "dimensions": 8, "epochs": 2, "min_count": 2, "n_buckets": 500}


def wechsel_of(folder: Path, **changed: object) -> dict[str, object]:
    return {
        "method": "wechsel",
        "source_vectors": {"kind": "words", "path": vector_file(folder / "en.vec", ENGLISH)},
        "target_vectors": {"kind": "words", "path": vector_file(folder / "de.vec", GERMAN)},
        "dictionary": {"path": dictionary_file(folder / "en-de.tsv")},
        "n_neighbours": 4,
        **changed,
    }


def trained_wechsel(folder: Path) -> dict[str, object]:
    (folder / "en.txt").write_text(f"{ENGLISH}. {ENGLISH.lower()}\n" * 3)
    source = {**TRAINED, "text": str(folder / "en.txt")}
    return wechsel_of(folder, source_vectors=source, target_vectors=TRAINED)


METHODS: dict[str, Callable[[Path], dict[str, object]]] = {
    "wechsel": wechsel_of,
    "wechsel_trained": trained_wechsel,
    "ofa": lambda folder: {
        "method": "ofa",
        "vectors": {"kind": "words", "path": vector_file(folder / "m.vec", f"{GERMAN} {ENGLISH}")},
        "n_neighbours": 4,
    },
    "trans_tokenizer": lambda folder: {
        "method": "trans_tokenizer",
        "parallel_texts": [parallel_files(folder)],
    },
    "tokenadapt": lambda folder: {
        "method": "tokenadapt",
        "encoder": {"kind": "directory", "path": encoder_folder(folder / "encoder")},
    },
    "tokenadapt_by_itself": lambda folder: {
        "method": "tokenadapt",
        "encoder": {"kind": "source_model"},
    },
}


def check_rows(rows: Artifact, model_folder: Path, method: str) -> None:
    """Shared rows bit-exact; new ones convex sums of old ones, none of them zero or not finite."""
    old = load_file(model_folder / "model.safetensors")["model.embed_tokens.weight"]
    new = load_file(open_artifact(rows) / "embeddings.safetensors")["input_rows"]
    assert (new[: len(old)] == old).all()
    made = new[len(old) :]
    assert made.isfinite().all()
    assert made.norm(dim=1).min() > 0
    assert made.norm(dim=1).max() <= old.norm(dim=1).max() + 1e-6
    lineage = read_table(open_artifact(rows) / "lineage.parquet").to_pylist()[len(old) :]
    by_method = [row for row in lineage if row["method"] == method]
    assert len(by_method) > 10
    for row in by_method:
        weights = np.array(row["weights"])
        assert (weights >= 0).all()
        assert weights.sum() == pytest.approx(1.0, abs=1e-5)
        rebuilt = weights.astype(np.float32) @ old[row["source_ids"]].numpy()
        np.testing.assert_allclose(new[row["id"]].numpy(), rebuilt, atol=1e-5)


@needs_fasttext
@pytest.mark.parametrize("name", METHODS)
def test_rows_are_convex_and_explained_and_come_out_the_same(
    name: str, make: Make, ran: list[str], tmp_path: Path, tiny_model_folder: Path
):
    method = METHODS[name](tmp_path)
    rows = make(method)
    check_rows(rows, tiny_model_folder, str(method["method"]))
    ran.clear()
    assert make(method).uri == rows.uri
    assert "embedding" not in ran
    other = make(method, embedding={"fallback_seed": 1})
    assert "embedding" in ran
    assert other.digest == rows.digest


def prealign_of(folder: Path, **changed: object) -> dict[str, object]:
    return {
        "method": "prealign",
        "dictionary": {"path": dictionary_file(folder / "en-de.tsv")},
        "head": "same",
        "start": "mean_of_pieces",
        "n_steps": 3,
        "pairs_per_step": 4,
        "compute_dtype": "float32",
        **changed,
    }


def test_rows_of_a_dictionarys_words_are_trained_and_all_are_explained(
    make: Make, ran: list[str], tmp_path: Path, tiny_model_folder: Path
):
    rows, start = make(prealign_of(tmp_path)), make({"method": "mean_of_pieces"})
    old = load_file(tiny_model_folder / "model.safetensors")["model.embed_tokens.weight"]
    at = open_artifact(rows)
    new, means = (
        load_file(open_artifact(artifact) / "embeddings.safetensors")["input_rows"]
        for artifact in (rows, start)
    )
    assert torch.equal(new[: len(old)], old)
    assert new.isfinite().all()
    assert new[len(old) :].norm(dim=1).min() > 0
    assert rows.summary["n_unexplained_equal_rows"] == 0
    lineage = read_table(at / "lineage.parquet").to_pylist()[len(old) :]
    trained = [row["id"] for row in lineage if row["note"].startswith("trained to read as")]
    assert 0 < len(trained) == rows.summary["n_trained"] < len(lineage)
    for row in lineage:
        assert (row["id"] in trained) is not torch.equal(new[row["id"]], means[row["id"]])
        assert (row["id"] in trained) is not bool(row["weights"])
    assert len(read_table(at / "losses.parquet")) == 3
    ran.clear()
    again = make(prealign_of(tmp_path), embedding={"fallback_seed": 1})
    assert again.digest == rows.digest
    assert {*ran} == {"embedding_lock", "embedding"}

    turned = {"path": dictionary_file(tmp_path / "de-en.tsv", {b: a for a, b in PAIRS.items()})}
    with pytest.raises(NoWordsToAlignError, match="has the dictionary to be reversed"):
        make(prealign_of(tmp_path, dictionary=turned))
    reverse = make(prealign_of(tmp_path, dictionary={**turned, "reverse": True}))
    assert reverse.summary["n_trained"] == rows.summary["n_trained"]


def test_changed_dictionary_runs_the_embedding_alone_and_a_moved_one_nothing(
    make: Make, ran: list[str], tmp_path: Path
):
    method = wechsel_of(tmp_path)
    rows = make(method)
    ran.clear()
    moved = dictionary_file(tmp_path / "moved.tsv")
    assert make({**method, "dictionary": {"path": moved}}).uri == rows.uri
    assert ran == ["embedding_lock"]
    ran.clear()
    dictionary_file(Path(moved), PAIRS | {"contract": "Vertrag", "text": "Vertrag"})
    changed = make({**method, "dictionary": {"path": moved}})
    assert ran == ["embedding_lock", "embedding"]
    assert changed.digest != rows.digest


@needs_fasttext
def test_vectors_trained_on_the_runs_own_text_are_trained_once(
    make: Make, ran: list[str], tmp_path: Path
):
    (tmp_path / "english.txt").write_text(f"{ENGLISH}.\n" * 9)
    source = {"kind": "files", "name": "english", "paths": [str(tmp_path / "english.txt")]}
    corpus = {
        "sources": [source], "heldout_fraction": 0.0, "min_document_bytes": 20,
        "duplicate_line_min_bytes": None,
    }  # fmt: skip
    wechsel = wechsel_of(tmp_path, source_vectors=TRAINED, target_vectors=TRAINED)
    rows = make(wechsel, source_corpus=corpus)
    assert rows.summary["n_dictionary_pairs"] > 3
    assert "word_vectors" in ran
    ran.clear()
    by_words = {**TRAINED, "by": "words", "max_words": 50}
    read_otherwise = wechsel | {"source_vectors": by_words, "target_vectors": by_words}
    assert make(read_otherwise, source_corpus=corpus).digest != rows.digest
    assert {*ran} == {"corpus_lock", "embedding_lock", "embedding"}
    from_file = make(
        {**wechsel, "source_vectors": {**TRAINED, "text": str(tmp_path / "english.txt")}}
    )
    # One document or its lines: the words are the same, their neighbours at line ends are not.
    assert from_file.summary["n_dictionary_pairs"] == rows.summary["n_dictionary_pairs"]
    ofa = make({"method": "ofa", "vectors": TRAINED}, source_corpus=corpus)
    assert ofa.summary["n_needed_with_vector"] > 10


def test_ofa_in_few_dimensions_says_what_is_lost(
    make: Make, tmp_path: Path, tiny_model_folder: Path
):
    rows = make({**METHODS["ofa"](tmp_path), "rank": 4})
    assert 0.1 < rows.summary["share_of_input_kept"] < 0.9
    old = load_file(tiny_model_folder / "model.safetensors")["model.embed_tokens.weight"]
    new = load_file(open_artifact(rows) / "embeddings.safetensors")["input_rows"]
    lineage = read_table(open_artifact(rows) / "lineage.parquet").to_pylist()
    made = [row for row in lineage if row["method"] == "ofa"]
    assert {row["note"] for row in made} == {"of old rows in their 4 leading dimensions"}
    assert np.linalg.matrix_rank(new[[row["id"] for row in made]].numpy(), tol=1e-5) == 4
    assert (new[: len(old)] == old).all()


def test_catalogues_translate_as_lines_do(make: Make, tmp_path: Path, tiny_model_folder: Path):
    lines = parallel_files(tmp_path)
    sides = [Path(lines[side]).read_text().splitlines() for side in ("source", "target")]
    for number, start in enumerate((0, 100)):
        part = slice(start, start + 100)
        # A catalogue holds a message once; the context before it is no part of the message.
        messages = {
            f"{n:03d}\x04{a}": b
            for n, (a, b) in enumerate(zip(sides[0][part], sides[1][part], strict=True))
        }
        folder = tmp_path / "locale" / str(number)
        folder.mkdir(parents=True)
        (folder / "program.mo").write_bytes(catalogue(messages))
    gettext = {"kind": "gettext", "paths": [str(tmp_path / "locale/**/*.mo")]}
    rows = make({"method": "trans_tokenizer", "parallel_texts": [gettext]})
    from_lines = make({"method": "trans_tokenizer", "parallel_texts": [lines]})
    assert rows.digest == from_lines.digest
    assert rows.summary["n_sentence_pairs"] == 200
    both = make({"method": "trans_tokenizer", "parallel_texts": [lines, gettext], "unit": "tokens"})
    assert both.summary["n_sentence_pairs"] == 400
    check_rows(both, tiny_model_folder, "trans_tokenizer")


def test_a_sentence_too_long_to_align_is_passed_over_and_counted(make: Make, tmp_path: Path):
    lines = parallel_files(tmp_path)
    plain = make({"method": "trans_tokenizer", "parallel_texts": [lines]})
    assert plain.summary["n_too_long_sentence_pairs"] == 0
    long = {side: tmp_path / f"{side}.long" for side in ("source", "target")}
    for side, path in long.items():
        first, *rest = Path(lines[side]).read_text().splitlines()
        word = first.split()[0]
        path.write_text("\n".join([" ".join([word] * 8_000), first, *rest]) + "\n")
    texts = lines | {side: str(path) for side, path in long.items()}
    method = {"method": "trans_tokenizer", "parallel_texts": [texts]}
    tracemalloc.start()
    rows = make(method)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows.summary["n_too_long_sentence_pairs"] == 1
    assert rows.summary["n_sentence_pairs"] == plain.summary["n_sentence_pairs"] == 200
    assert rows.digest == plain.digest
    assert peak < 100_000_000, "8,000 words paired with each other take 512 MB"
    for path in long.values():
        path.write_text(path.read_text().partition("\n")[0] + "\n")
    with pytest.raises(ParallelTextError, match="each of the 1 sentence pairs has more than 1000"):
        make(method)


def test_dictd_dictionary_is_locked_with_its_definitions(make: Make, tmp_path: Path):
    definitions = "".join(f"{a}\n{b}\n" for a, b in PAIRS.items())
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    at, index = 0, ""
    for a, b in PAIRS.items():
        n = len(f"{a}\n{b}\n")
        index += f"{a}\t{digits[at // 64]}{digits[at % 64]}\t{digits[n]}\n"
        at += n
    (tmp_path / "d.index").write_text(index)
    method = wechsel_of(tmp_path, dictionary={"path": str(tmp_path / "d.index")})
    with pytest.raises(OutsideFileError, match=r"d\.index has no definitions: neither"):
        make(method)
    (tmp_path / "d.dict").write_text(definitions)
    from_table = make(wechsel_of(tmp_path))
    assert make(method).digest == from_table.digest


def words(path: str) -> dict[str, str]:
    return {"kind": "words", "path": path}


def too_narrow(folder: Path) -> dict[str, object]:
    narrow = vector_file(folder / "narrow.vec", GERMAN, width=5)
    return wechsel_of(folder, target_vectors=words(narrow))


def other_languages(folder: Path) -> dict[str, object]:
    path = dictionary_file(folder / "fr-it.tsv", {"programme": "programma"})
    return wechsel_of(folder, dictionary={"path": path})


def no_words_to_align(folder: Path) -> dict[str, object]:
    path = dictionary_file(folder / "fr-it.tsv", {"programme": "programma"})
    return prealign_of(folder, dictionary={"path": path})


def too_fast(folder: Path) -> dict[str, object]:
    return prealign_of(folder, lr=3e38)


def unequal_lines(folder: Path) -> dict[str, object]:
    parallel = parallel_files(folder)
    with Path(parallel["target"]).open("a") as file:
        file.write("und\n")
    return {"method": "trans_tokenizer", "parallel_texts": [parallel]}


def cut_catalogue(folder: Path) -> dict[str, object]:
    (folder / "a.mo").write_bytes(catalogue({"file": "Datei"})[:-9])
    texts = [{"kind": "gettext", "paths": [str(folder / "a.mo")]}]
    return {"method": "trans_tokenizer", "parallel_texts": texts}


def little_text(folder: Path) -> dict[str, object]:
    (folder / "en.txt").write_text("one two three\n")
    source = {**TRAINED, "text": str(folder / "en.txt")}
    return wechsel_of(folder, source_vectors=source, target_vectors=TRAINED)


def no_text(folder: Path) -> dict[str, object]:
    (folder / "en.txt").write_bytes(b"\xff\xfe")
    source = {**TRAINED, "text": str(folder / "en.txt")}
    return wechsel_of(folder, source_vectors=source, target_vectors=TRAINED)


def no_encoder(folder: Path) -> dict[str, object]:
    (folder / "empty").mkdir()
    encoder = {"kind": "directory", "path": str(folder / "empty")}
    return {"method": "tokenadapt", "encoder": encoder}


def broken_encoder(folder: Path) -> dict[str, object]:
    encoder_folder(folder / "encoder")
    (folder / "encoder" / "config.json").write_text('{"model_type": "none"}')
    encoder = {"kind": "directory", "path": str(folder / "encoder")}
    return {"method": "tokenadapt", "encoder": encoder}


def no_catalogues(folder: Path) -> dict[str, object]:
    texts = [{"kind": "gettext", "paths": [f"{folder}/*.mo"]}]
    return {"method": "trans_tokenizer", "parallel_texts": texts}


REFUSED: dict[str, tuple[Callable[[Path], dict[str, object]], type[InputError], str]] = {
    "width": (too_narrow, VectorWidthError, "vectors of 6 dimensions and target words of 5"),
    "languages": (other_languages, DictionaryError, "none of 1 word pairs has both words"),
    "words to align": (no_words_to_align, NoWordsToAlignError, "none of 1 words of the dict"),
    "rate": (too_fast, AlignmentDivergedError, r"loss is nan at step 2 with lr=3e\+38; lower lr"),
    "lines": (unequal_lines, ParallelTextError, r"lines\.en and .*lines\.de have differing"),
    "catalogue": (cut_catalogue, ParallelTextError, r"/a\.mo cannot be read as a gettext"),
    "catalogues": (no_catalogues, OutsideFileError, r"\*\.mo .* matches no file"),
    "little text": (little_text, TooLittleTextError, "3 words to train source_vectors on"),
    "no text": (no_text, TrainingTextError, r"/en\.txt cannot be read"),
    "encoder": (no_encoder, SentenceEncoderError, r"/empty has no config\.json"),
    "broken": (broken_encoder, SentenceEncoderError, r"/encoder cannot be loaded as a sentence"),
}


@needs_fasttext
@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_named_as_the_person_knows_it(
    name: str, make: Make, refused: Refused, tmp_path: Path
):
    method, error, message = REFUSED[name]
    given = method(tmp_path)
    refused(lambda: make(given), error, message)


def test_missing_files_are_named_with_what_they_are_for(make: Make, tmp_path: Path):
    method = wechsel_of(tmp_path, source_vectors=words(f"{tmp_path}/none.vec"))
    with pytest.raises(OutsideFileError, match=r"none\.vec \(source_vectors\) does not exist"):
        make(method)
    Path(tmp_path / "en.vec").write_text("a 1\nb\n")
    method = wechsel_of(tmp_path)
    Path(tmp_path / "en.vec").write_text("a 1\nb\n")
    with pytest.raises(WordVectorsError, match=rf"Line 2 of {tmp_path}/en\.vec is 'b'"):
        make(method)


@pytest.mark.usefixtures("make")
def test_file_that_changes_between_lock_and_reading_is_refused(upstream: Any, tmp_path: Path):
    config = EmbeddingConfig.model_validate({"initialiser": wechsel_of(tmp_path)})
    path = tmp_path / "en-de.tsv"
    dictionary_file(path, PAIRS | {"value": "Wert"})
    files = config.initialiser.outside_files
    assert files is not None
    lock = lock_embedding_files(files)
    dictionary_file(path, {"late": "spät"})
    source, corpus, tokenizer, tokens = upstream.artifacts
    with pytest.raises(CorruptFileError, match=r"en-de\.tsv no longer has the content that was"):
        initialise_embeddings(config, source, tokenizer, tokens, corpus, lock)


@pytest.mark.parametrize(
    ("initialiser", "message"),
    [
        ({"source_vectors": TRAINED}, "name that text under source_corpus"),
        ({"source_vectors": {**TRAINED, "text": "t"}, "dictionary": None}, "name a dictionary"),
        (
            {
                "source_vectors": {**TRAINED, "text": "t"},
                "target_vectors": {**TRAINED, "dimensions": 9},
            },
            "source vectors have 8 dimensions and target vectors 9",
        ),
    ],
)
def test_choices_that_cannot_work_are_refused_before_any_work(
    initialiser: dict[str, object], message: str, tiny_run: dict[str, Any], tmp_path: Path
):
    embedding = {"initialiser": wechsel_of(tmp_path, **initialiser)}
    with pytest.raises(ValueError, match=message):
        RunConfig.model_validate({**tiny_run, "embedding": embedding})


def test_source_corpus_that_nobody_reads_is_refused(tiny_run: dict[str, Any]):
    with pytest.raises(ValueError, match="composed reads none; take it out"):
        RunConfig.model_validate({**tiny_run, "source_corpus": tiny_run["corpus"]})
