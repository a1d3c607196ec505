"""Names of the tensors with one row a token, for architectures unlike each other."""

from pathlib import Path
from typing import Any

import pytest
import transformers
from safetensors import safe_open

from tasks.shared.model_rows import RowNames, RowNamesError, find_row_names

SMALL: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 8,
    "bos_token_id": 0,
    "eos_token_id": 0,
}


def saved(folder: Path, name: str, **choices: Any) -> Path:
    model_class = getattr(transformers, name)
    model_class(model_class.config_class(**SMALL | choices)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("name", "choices", "expected"),
    [
        (
            "LlamaForCausalLM",
            {"tie_word_embeddings": False},
            RowNames("model.embed_tokens.weight", "lm_head.weight", None, tied=False),
        ),
        (
            "Qwen2ForCausalLM",
            {"tie_word_embeddings": True},
            RowNames("model.embed_tokens.weight", "lm_head.weight", None, tied=True),
        ),
        (
            "GPT2LMHeadModel",
            {},
            RowNames("transformer.wte.weight", "lm_head.weight", None, tied=True),
        ),
        (
            "PhiForCausalLM",
            {},
            RowNames("model.embed_tokens.weight", "lm_head.weight", "lm_head.bias", tied=False),
        ),
        (
            "BertForMaskedLM",
            {},
            RowNames(
                "bert.embeddings.word_embeddings.weight",
                "cls.predictions.decoder.weight",
                "cls.predictions.bias",
                tied=True,
            ),
        ),
    ],
)
def test_names_are_those_of_the_checkpoint(
    name: str, choices: dict[str, Any], expected: RowNames, tmp_path: Path
):
    folder = saved(tmp_path, name, **choices)
    assert find_row_names(folder) == expected
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        stored = set(file.keys())
    assert expected.input in stored
    assert (expected.head in stored) is not expected.tied
    assert expected.head_bias is None or expected.head_bias in stored


def test_model_without_a_head_is_refused(tmp_path: Path):
    with pytest.raises(RowNamesError, match="BertModel has no output head"):
        find_row_names(saved(tmp_path, "BertModel"))


def test_values_of_tokens_in_another_place_are_refused(tmp_path: Path):
    shape = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "pad_token_id": 0}
    folder = saved(tmp_path, "BartForConditionalGeneration", **shape)
    with pytest.raises(RowNamesError, match=r"BartFor.* keeps final_logits_bias"):
        find_row_names(folder)


def test_unknown_class_is_refused(tmp_path: Path):
    saved(tmp_path, "BertModel")
    text = (tmp_path / "config.json").read_text().replace("BertModel", "NoSuchModel")
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(RowNamesError, match="NoSuchModel"):
        find_row_names(tmp_path)
