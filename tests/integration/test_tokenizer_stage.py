"""The tokenizer stage through its door: artifacts in, a loadable tokenizer out."""

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from infra.artifacts import Artifact, Attempt, Summary, open_artifact
from infra.parquet import read_table, write_table
from tasks.shared.config import StageConfig
from tasks.shared.task import stage
from tasks.shared.vocabulary import read_vocabulary
from tasks.tokenizer.config import Bpe, Extend
from tasks.tokenizer.errors import CorpusTooSmallError
from tasks.tokenizer.task import train_tokenizer

FLORES = Path("../shared/data")


class Folder(StageConfig):
    folder: str


class Texts(StageConfig):
    texts: tuple[str, ...]


@stage(name="given_model", version=1)
def give_model(attempt: Attempt, config: Folder) -> Summary:
    shutil.copytree(config.folder, attempt.folder, dirs_exist_ok=True)
    return {}


@stage(name="given_corpus", version=1)
def give_corpus(attempt: Attempt, config: Texts) -> Summary:
    def table(texts: tuple[str, ...], **more: Any) -> pa.Table:
        n = len(texts)
        return pa.table(
            {
                "doc_id": [f"d{i}" for i in range(n)],
                "source": ["test"] * n,
                **{name: [value] * n for name, value in more.items()},
                "text": list(texts),
                "n_bytes": pa.array([len(t.encode()) for t in texts], pa.int64()),
            }
        )

    half = len(config.texts) // 2
    write_table(attempt.folder / "train-00000.parquet", table(config.texts[:half]))
    write_table(attempt.folder / "train-00001.parquet", table(config.texts[half:-40]))
    held_out = table(config.texts[-40:], suite="heldout")
    general = table(("etwas anderes",), suite="general")
    write_table(attempt.folder / "heldout-00000.parquet", pa.concat_tables([held_out, general]))
    return {}


@pytest.fixture
def model(tiny_model_folder: Path) -> Artifact:
    return give_model(Folder(folder=str(tiny_model_folder)))


@pytest.fixture
def corpus(small_corpus_texts: list[str]) -> Artifact:
    return give_corpus(Texts(texts=tuple(small_corpus_texts)))


@pytest.mark.parametrize(
    "config",
    [
        Extend(n_new_tokens=80),
        Bpe(vocabulary_size=520),
        Bpe(vocabulary_size=520, pretokenizer="llama3", digits="groups_of_3"),
    ],
    ids=["extend", "bpe", "bpe-llama3"],
)
def test_plain_transformers_loads_what_the_stage_wrote(
    config: Extend | Bpe, model: Artifact, corpus: Artifact, small_corpus_texts: list[str]
):
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    written = train_tokenizer(config, model, corpus)
    folder = open_artifact(written)
    loaded = AutoTokenizer.from_pretrained(folder)
    plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
    vocabulary = read_vocabulary(folder)
    assert len(loaded) == len(vocabulary) == written.summary["vocabulary_size"]
    assert loaded.eos_token_id == vocabulary.roles["eos"]
    assert loaded.bos_token_id == vocabulary.roles["bos"]
    for text in [*small_corpus_texts[:20], "a  12", "x\n\n 2024 €\t"]:
        ids = loaded(text)["input_ids"]
        assert ids == plain.encode(text).ids
        assert loaded.decode(ids) == text
    chat = loaded.apply_chat_template([{"role": "user", "content": "Hallo"}], tokenize=False)
    assert chat == "<|im_start|>user\nHallo<|im_end|>\n"
    assert loaded(chat)["input_ids"][0] == vocabulary.roles["chat_turn_start"]
    summary = written.summary
    assert summary["bytes_per_token"] > summary["source_bytes_per_token"]


def test_tables_and_summary_agree(model: Artifact, corpus: Artifact, small_corpus_texts: list[str]):
    written = train_tokenizer(Extend(n_new_tokens=80), model, corpus)
    folder = open_artifact(written)
    vocabulary = read_table(folder / "vocabulary.parquet")
    assert vocabulary.num_rows == written.summary["vocabulary_size"]
    assert sum(vocabulary["is_new"].to_pylist()) == written.summary["n_new_tokens"] == 80
    merges = read_table(folder / "merges.parquet")
    assert merges.column_names == ["rank", "left_id", "right_id", "result_id"]
    trained_on = small_corpus_texts[:-40]
    assert written.summary["n_train_documents"] == len(trained_on)
    assert written.summary["n_train_bytes"] == sum(len(text.encode()) for text in trained_on)


def test_equal_inputs_give_equal_digests(model: Artifact, corpus: Artifact, own_place: Path):
    first = train_tokenizer(Extend(n_new_tokens=80), model, corpus)
    shutil.rmtree(own_place / "store" / "tokenizer")
    assert train_tokenizer(Extend(n_new_tokens=80), model, corpus).digest == first.digest


def test_a_corpus_too_small_leaves_no_artifact(model: Artifact, corpus: Artifact, own_place: Path):
    with pytest.raises(CorpusTooSmallError, match="n_new_tokens=50000"):
        train_tokenizer(Extend(n_new_tokens=50_000), model, corpus)
    assert not list((own_place / "store" / "tokenizer").rglob("manifest.json"))


@pytest.mark.skipif(not FLORES.exists(), reason="needs the development data beside the checkout")
def test_every_flores_line_survives(model: Artifact):
    from tokenizers import Tokenizer

    languages = ("deu", "eng", "fra", "ita", "tur")
    lines = {
        language: (FLORES / f"flores_dev_{language}.txt").read_text(encoding="utf-8").splitlines()
        for language in languages
    }
    corpus = give_corpus(Texts(texts=tuple(lines["deu"] + lines["tur"])))
    for config in (Extend(n_new_tokens=1000), Bpe(vocabulary_size=2000)):
        folder = open_artifact(train_tokenizer(config, model, corpus))
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        for line in (line for language in languages for line in lines[language]):
            assert tokenizer.decode(tokenizer.encode(line).ids) == line
