"""Text embeddings from a folder."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, T5Config, T5Model

from tasks.embedding.sentence_encoder import SentenceEncoder, SentenceEncoderError

WORDS = ["[PAD]", "[UNK]", "haus", "baum", "der", "die"]


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def test_mean_over_tokens_without_padding(encoder_folder: Path):
    encoder = SentenceEncoder(encoder_folder)
    texts = ["haus", "der baum die", " ", "baum", "haus"]
    done: list[tuple[int, int]] = []
    vectors = encoder.embed(texts, lambda *counts: done.append(counts))
    assert not vectors[2].any()
    assert done == [(3, 3)]
    for text, vector in zip(texts, vectors, strict=True):
        if text.strip():
            ids = torch.tensor([[WORDS.index(word) for word in text.split()]])
            with torch.inference_mode():
                states = encoder.model(input_ids=ids).last_hidden_state[0]
            np.testing.assert_allclose(vector, states.mean(0), atol=1e-6)


def test_batches_change_no_vector(encoder_folder: Path, monkeypatch: pytest.MonkeyPatch):
    encoder = SentenceEncoder(encoder_folder)
    texts = ["haus", "der baum", "die", "die der haus baum", "baum"]
    whole = encoder.embed(texts)
    monkeypatch.setattr("tasks.embedding.sentence_encoder.BATCH_TEXTS", 2)
    done: list[tuple[int, int]] = []
    parts = encoder.embed(texts, lambda *counts: done.append(counts))
    np.testing.assert_allclose(parts, whole, atol=1e-6)
    assert done == [(2, 5), (4, 5), (5, 5)]
    rough = SentenceEncoder(encoder_folder, compute_dtype=torch.bfloat16).embed(texts)
    assert (rough != whole).any()
    np.testing.assert_allclose(rough, whole, atol=0.05)


def test_other_folders_are_refused(encoder_folder: Path, tmp_path: Path):
    with pytest.raises(SentenceEncoderError, match="has no config"):
        SentenceEncoder(tmp_path)
    (tmp_path / "config.json").write_bytes((encoder_folder / "config.json").read_bytes())
    with pytest.raises(SentenceEncoderError, match="cannot be loaded"):
        SentenceEncoder(tmp_path)
    (tmp_path / "1_Pooling").mkdir()
    pooling = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    with pytest.raises(SentenceEncoderError, match=r"pools by \['pooling_mode_cls_token'\]"):
        SentenceEncoder(tmp_path)


def rewritten(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def test_parameters_are_never_random(encoder_folder: Path, tmp_path: Path):
    folder = shutil.copytree(encoder_folder, tmp_path / "e")
    whole = SentenceEncoder(folder).embed(["haus baum"])
    rewritten(folder, lambda t: [t.pop(name) for name in list(t) if name.startswith("pooler.")])
    np.testing.assert_array_equal(SentenceEncoder(folder).embed(["haus baum"]), whole)
    words = "embeddings.word_embeddings.weight"
    rewritten(folder, lambda t: t.update({words: t[words][:3].clone()}))
    with pytest.raises(SentenceEncoderError, match=rf"lacks 0 .* 1 of another .*{words}.* whole"):
        SentenceEncoder(folder)
    rewritten(folder, lambda t: t.pop(words))
    with pytest.raises(SentenceEncoderError, match=rf"lacks 1 parameters .*BertModel.*{words}"):
        SentenceEncoder(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.safetensors", None, "cannot be loaded .*not fully covered.* give a whole folder"),
        ("tokenizer.json", b'{"model": {}}', "cannot be loaded .*added_tokens"),
        ("config.json", b'{"model_type": "bert", "hidden_size": "x"}', "expected int, got str"),
        ("1_Pooling/config.json", b"{", "1_Pooling/config.json is no readable JSON"),
        ("1_Pooling/config.json", b"\xff", "1_Pooling/config.json is no readable JSON"),
        ("1_Pooling/config.json", b"[1]", r"holds \[1\] and no JSON object of pooling modes"),
    ],
)
def test_a_damaged_file_is_one_clear_line(
    encoder_folder: Path, tmp_path: Path, name: str, content: bytes | None, message: str
):
    folder = shutil.copytree(encoder_folder, tmp_path / "e")
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(path.read_bytes()[:-9] if content is None else content)
    with pytest.raises(SentenceEncoderError, match=message) as said:
        SentenceEncoder(folder)
    assert "\n" not in str(said.value)


def test_an_encoder_decoder_is_refused(encoder_folder: Path, tmp_path: Path):
    folder = shutil.copytree(encoder_folder, tmp_path / "e")
    config = T5Config(vocab_size=len(WORDS), d_model=16, d_ff=16, d_kv=8, num_layers=1, num_heads=2)
    T5Model(config).save_pretrained(folder)
    with pytest.raises(SentenceEncoderError, match="holds a T5Model, whose decoder"):
        SentenceEncoder(folder)
