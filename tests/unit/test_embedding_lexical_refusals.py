"""Files outside that initialisers cannot use, and choices that cannot work, are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lexical_files import (
    GERMAN,
    PAIRS,
    TRAINED,
    Make,
    Refused,
    catalogue,
    dictionary_file,
    encoder_folder,
    needs_fasttext,
    parallel_files,
    prealign_of,
    vector_file,
    wechsel_of,
)

from flows.run_config import RunConfig
from infra.errors import CorruptFileError
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
