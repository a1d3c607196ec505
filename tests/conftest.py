"""Small real things that many tests stand on: texts, a tokenizer, tiny models."""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from infra.settings import get_settings
from tasks.shared.vocabulary_file import TokenizerFile
from tasks.tokenizer.config import SourceWords, WordsConfig
from tasks.tokenizer.pretokens import PretokenCounter
from tasks.tokenizer.trained import Config, Counted, Trained
from tasks.tokenizer.training import train_in_folder
from tasks.tokenizer.word_rule import word_rule

SENTENCES = [
    "Der Vertrag wird schriftlich geschlossen und von beiden Seiten unterschrieben.",
    "Die Verordnung tritt am Tag nach ihrer Verkündung in Kraft.",
    "Das Programm liest die Datei und schreibt das Ergebnis in ein Verzeichnis.",
    "Wer die Datenbank öffnet, muss zuerst die Verbindung zum Server prüfen.",
    "Die Gemeinde veröffentlicht den Bebauungsplan im Internet, Seite 12.",
    "Eine Anwendung übergibt der Funktion die Größe des Puffers in Byte: 4096.",
    "Der Antrag ist innerhalb von 30 Tagen bei der Behörde zu stellen.",
    "Fehlermeldungen werden im Protokoll gespeichert, wenn die Option gesetzt ist.",
    "Über die Straßenverkehrsordnung entscheidet das Bundesministerium.",
    "The program reads the file and writes the result into a directory.",
    "A tokenizer cuts text into pieces, and the model reads the pieces.",
    "Every function returns its value, or raises an error that names the file.",
]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests of a GPU wait for a machine that has one."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("torch sees no GPU here")


@pytest.fixture(autouse=True)
def own_place(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Every test has its own store and cache, and no network."""
    place = tmp_path_factory.mktemp("place")
    monkeypatch.setenv("TOKGRAFT_STORE", str(place / "store"))
    monkeypatch.setenv("TOKGRAFT_CACHE_DIR", str(place / "cache"))
    monkeypatch.setenv("TOKGRAFT_DATA_FOLDER", str(place / "data"))
    monkeypatch.setenv("TOKGRAFT_N_PROCESSES", "1")
    monkeypatch.setenv("TOKGRAFT_N_THREADS", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    get_settings.cache_clear()
    yield place
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def small_corpus_texts() -> list[str]:
    """240 short documents in German and English, the same in every run."""
    draw = random.Random(0)
    return [
        " ".join(draw.choices(SENTENCES, k=draw.randint(2, 6))) + f"\nNr. {number}\n"
        for number in range(240)
    ]


def _write_tiny_model(folder: Path, *, tied: bool) -> Path:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM

    folder.mkdir(parents=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # English only, so that German is cut to pieces as in a real adaptation.
    tokenizer.train_from_iterator([text for text in SENTENCES[9:] for _ in range(3)], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "bos_token": "<|im_start|>",
                "eos_token": "<|im_end|>",
                "pad_token": "<|im_end|>",
                "unk_token": "<|endoftext|>",
                "clean_up_tokenization_spaces": False,
                "model_max_length": 256,
            }
        )
    )
    (folder / "chat_template.jinja").write_text(
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
        "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=tied,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tied two-layer Llama of width 32 with a byte-level BPE; read only."""
    return _write_tiny_model(tmp_path_factory.mktemp("tiny") / "m", tied=True)


@pytest.fixture(scope="session")
def tiny_untied_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a head of its own; read only."""
    return _write_tiny_model(tmp_path_factory.mktemp("tiny") / "u", tied=False)


@pytest.fixture(scope="session")
def train_tokenizer_in() -> Callable[..., tuple[Trained, Counted]]:
    """Count words by a rule and train a tokenizer from them into a folder."""

    def train(
        folder: Path,
        source: TokenizerFile,
        config: Config,
        texts: Sequence[str],
        words: WordsConfig | None = None,
    ) -> tuple[Trained, Counted]:
        rule = word_rule(source, words or SourceWords())
        counter = PretokenCounter(rule.normalizer, rule.pre_tokenizer, 256)
        counter.add(pa.array(texts, pa.string()))
        counts = counter.result()
        counted = Counted(rule, counts)
        return train_in_folder(folder, source, config, [counted]), counted

    return train


@pytest.fixture
def tiny_run(tmp_path: Path, tiny_model_folder: Path, small_corpus_texts: list[str]) -> dict:
    """A whole run on the tiny model and 240 documents, as a run file holds it."""
    return _tiny_run_in(tmp_path, tiny_model_folder, small_corpus_texts)


@pytest.fixture(scope="module")
def tiny_run_in(tiny_model_folder: Path, small_corpus_texts: list[str]) -> Callable[[Path], dict]:
    """The same, with its documents in a folder that outlives a test."""
    return lambda folder: _tiny_run_in(folder, tiny_model_folder, small_corpus_texts)


def _tiny_run_in(folder: Path, tiny_model_folder: Path, small_corpus_texts: list[str]) -> dict:
    documents = folder / "documents"
    documents.mkdir()
    for number, text in enumerate(small_corpus_texts):
        (documents / f"{number:03d}.txt").write_text(text)
    (folder / "general.txt").write_text(" ".join(SENTENCES[:6]))
    return {
        "model": {"source": {"kind": "directory", "path": str(tiny_model_folder)}},
        "corpus": {
            "sources": [
                {"kind": "files", "name": "documents", "paths": [f"{documents}/*.txt"]},
                {
                    "kind": "files",
                    "name": "general",
                    "paths": [f"{folder}/general.txt"],
                    "heldout_only": True,
                    "suite": "general",
                },
            ],
            "min_document_bytes": 20,
            "duplicate_line_min_bytes": None,
            "heldout_fraction": 0.1,
        },
        "tokenizer": {"method": "extend", "n_new_tokens": 64},
        "embedding": {
            "initialiser": {"method": "composed"},
            "prefix_prior": {
                "direction_positions": 512,
                "max_direction_spread": 10.0,  # untrained hidden states agree on no direction
            },
        },
        "pretraining": {
            "phases": [{"trainable": "all", "budget": {"unit": "bytes", "amount": 12_000}}],
            "sequence_length": 64,
            "global_batch_tokens": 256,
            "checkpoint_every_steps": 4,
        },
        "evaluation": {
            "document_bytes": 128,
            "suite_bytes": 3000,
            "n_resamples": 100,
            "generation": {"n_prompts": 1, "new_characters": 20},
        },
    }
