"""What initialisers that know words read from outside, written here, and choices that name it."""

import random
import struct
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from infra.artifacts import Artifact, open_artifact
from infra.parquet import read_table
from tasks.shared.errors import InputError

needs_fasttext = pytest.mark.skipif(find_spec("fasttext") is None, reason="needs the extra vectors")
Make = Callable[..., Artifact]
Refused = Callable[[Callable[[], Artifact], type[InputError], str], None]
PAIRS = {
    "program": "Programm", "file": "Datei", "reads": "liest", "writes": "schreibt",
    "result": "Ergebnis", "directory": "Verzeichnis", "the": "die", "and": "und", "into": "in",
}  # fmt: skip
GERMAN = "Das Programm liest die Datei und schreibt das Ergebnis in ein Verzeichnis Vertrag Seite"
ENGLISH = "The program reads the file and writes the result into a directory value text pieces cuts"


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
