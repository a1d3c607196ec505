"""What reads both sides of a token is not run from left to right."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM, PreTrainedConfig

from tasks.shared.causality import NotCausalError, check_causal_summary, why_not_causal
from tasks.shared.model_loading import load_causal_lm

SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "vocab_size": 99}
SMALL |= {"num_attention_heads": 2, "max_position_embeddings": 64, "pad_token_id": 0}
XLNET = {"d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 48, "vocab_size": 99}
CAUSAL = {
    "llama": transformers.LlamaConfig(**SMALL),
    "gpt_neox, whose is_decoder is false": transformers.GPTNeoXConfig(**SMALL),
    "bert as decoder": transformers.BertConfig(**SMALL, is_decoder=True),
    "bert-generation as decoder": transformers.BertGenerationConfig(**SMALL, is_decoder=True),
    "xlm as asked": transformers.XLMConfig(emb_dim=32, n_layers=2, n_heads=2, causal=True),
}
BOTH_SIDES = {
    "bert": transformers.BertConfig(**SMALL),
    "roberta": transformers.RobertaConfig(**SMALL),
    "bert-generation": transformers.BertGenerationConfig(**SMALL),
    "xlm": transformers.XLMConfig(emb_dim=32, n_layers=2, n_heads=2),
    "xlnet": transformers.XLNetConfig(**XLNET),
}


def sees_what_follows(config: PreTrainedConfig) -> bool:
    """Change the last token and look at the logits before it."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    ids = torch.tensor([[5, 6, 7, 8, 9, 10], [5, 6, 7, 8, 9, 20]])
    with torch.inference_mode():
        one, other = model(input_ids=ids, use_cache=False).logits[:, :-1]
    return not torch.allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("kind", CAUSAL)
def test_a_causal_model_is_known_as_one(kind: str):
    assert not sees_what_follows(CAUSAL[kind])
    assert why_not_causal(CAUSAL[kind]) is None


@pytest.mark.parametrize("kind", BOTH_SIDES)
def test_a_model_that_sees_what_follows_is_known_as_one(kind: str):
    assert sees_what_follows(BOTH_SIDES[kind])
    assert why_not_causal(BOTH_SIDES[kind]) == "each of its tokens sees those behind it too"


@pytest.mark.parametrize(
    ("model_class", "why"),
    [
        ("BertForMaskedLM", "each of its tokens sees those behind it too"),
        ("T5ForConditionalGeneration", "it has an encoder beside its decoder"),
        ("DistilBertForMaskedLM", "transformers has no causal class of this type"),
    ],
)
def test_such_a_model_is_refused_in_one_line(tmp_path: Path, model_class: str, why: str):
    of_class = getattr(transformers, model_class)
    config = of_class.config_class(**SMALL, num_layers=1, d_ff=8, d_kv=16, dim=32, n_heads=2)
    of_class(config).save_pretrained(tmp_path)
    with pytest.raises(NotCausalError, match="an initialiser that does not run the model") as said:
        load_causal_lm(tmp_path)
    assert f"of type {config.model_type}, no causal language model ({why})" in str(said.value)
    assert "\n" not in str(said.value)


def test_a_config_that_asks_for_both_sides_is_refused(tiny_model_folder: Path, tmp_path: Path):
    folder = shutil.copytree(tiny_model_folder, tmp_path / "model")
    record = json.loads((folder / "config.json").read_text()) | {"is_causal": False}
    (folder / "config.json").write_text(json.dumps(record))
    with pytest.raises(NotCausalError, match=r"type llama, .*sees those behind it too"):
        load_causal_lm(folder)


def test_an_import_that_says_so_is_enough():
    check_causal_summary({"origin": "m@1", "architecture": "LlamaForCausalLM", "not_causal": None})
    check_causal_summary({"origin": "from before this was said"})
    with pytest.raises(NotCausalError, match=r"e@1 is a BertForMaskedLM, no causal .*behind it"):
        check_causal_summary(
            {"origin": "e@1", "architecture": "BertForMaskedLM", "not_causal": "reads behind it"}
        )
