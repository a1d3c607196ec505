"""Random models of several architectures with the tiny model's tokenizer."""

import shutil
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file
from tokenizers import Tokenizer

from infra.artifacts import Artifact
from tasks.model.config import ModelConfig
from tasks.model.task import import_model, lock_model

ARCHITECTURES = {
    "tied": ("LlamaForCausalLM", {"tie_word_embeddings": True}),
    "untied": ("LlamaForCausalLM", {"tie_word_embeddings": False}),
    "untied with bias": ("PhiForCausalLM", {}),
    "tied with bias": ("BertForMaskedLM", {}),
}
ENCODER_DECODER = ("T5ForConditionalGeneration", {"num_layers": 1, "d_ff": 8, "d_kv": 16})


def small_model(
    folder: Path,
    tokenizer_of: Path,
    architecture: str,
    *,
    dtype: str = "float32",
    more_rows: int = 0,
) -> Path:
    """A random model of some class with the tiny model's tokenizer, its bias not zero.

    ``more_rows`` belong to no token.
    """
    name, choices = ARCHITECTURES.get(architecture, ENCODER_DECODER)
    model_class = getattr(transformers, name)
    n_tokens = Tokenizer.from_file(str(tokenizer_of / "tokenizer.json")).get_vocab_size()
    shape = {"hidden_size": 32, "intermediate_size": 8, "num_hidden_layers": 1}
    shape |= {
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "vocab_size": n_tokens + more_rows,
    }
    torch.manual_seed(0)
    config = model_class.config_class(**shape, **choices, bos_token_id=1, eos_token_id=2)
    model = model_class(config)
    head = model.get_output_embeddings()
    if head.bias is not None:
        torch.nn.init.normal_(head.bias)
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer_of / file, folder)
    return folder


def imported(folder: Path) -> Artifact:
    config = ModelConfig.model_validate({"source": {"kind": "directory", "path": str(folder)}})
    return import_model(config, lock_model(config))


def stored(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")
