"""Models in GGUF files, held against what transformers reads."""

from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
import transformers
from gguf_files import HEADS, imported, meta_model, write_tiny
from tokenizers import Tokenizer
from transformers.modeling_gguf_pytorch_utils import (
    load_gguf_checkpoint,
)

from infra.artifacts import open_artifact
from tasks.model.config import ModelConfig
from tasks.model.gguf_import import open_gguf_model
from tasks.model.gguf_weights import SUPPORTED_ARCHITECTURES
from tasks.model.task import import_model, lock_model
from tasks.shared.gguf_file import read_gguf


@pytest.mark.parametrize("untied", [False, True])
@pytest.mark.parametrize("architecture", SUPPORTED_ARCHITECTURES)
def test_weights_equal_those_transformers_reads(
    tmp_path: Path, architecture: str, untied: bool
) -> None:
    path = write_tiny(tmp_path / "m.gguf", architecture, untied=untied)
    expected = load_gguf_checkpoint(
        str(path), return_tensors=True, model_to_load=meta_model(path), torch_dtype=torch.bfloat16
    )["tensors"]
    found = imported(path, torch.bfloat16)
    assert found.keys() == expected.keys()
    for name, values in found.items():
        assert values.dtype == torch.bfloat16
        assert torch.equal(values, expected[name].bfloat16()), name


def test_query_rows_are_put_back_in_transformers_order(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "m.gguf")
    (stored,) = [t for t in read_gguf(path).tensors if t.name == "blk.0.attn_q.weight"]
    rows = gguf.quants.dequantize(stored.data, stored.tensor_type)
    # A head of 8 rows is stored as pairs (0,4) (1,5) (2,6) (3,7).
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    expected = np.concatenate([rows[8 * h : 8 * h + 8][order] for h in range(HEADS)])
    found = imported(path)["model.layers.0.self_attn.q_proj.weight"]
    np.testing.assert_array_equal(found.numpy(), expected)


def test_written_folder_loads_with_plain_transformers(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.gguf", untied=True)
    config = ModelConfig.model_validate({"source": {"kind": "gguf", "path": str(path)}})
    artifact = import_model(config, lock_model(config))
    folder = open_artifact(artifact)
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, output_loading_info=True
    )
    assert not any(info.values())
    assert model.dtype == torch.bfloat16
    assert model.config.eos_token_id == 2
    assert model.generation_config.eos_token_id == 2
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|im_start|>", "<|im_end|>")
    assert (tokenizer.pad_token, tokenizer.unk_token) == ("<|im_end|>", "<|endoftext|>")
    ours = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in ("a  12", "x\n\n 2024", "Straße, the <|im_end|> end"):
        assert tokenizer(text).input_ids == ours.encode(text).ids
        assert tokenizer.decode(tokenizer(text).input_ids) == text
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "th"}], tokenize=False)
    assert chat == "th<|im_end|>"
    assert artifact.summary["quantisation"] == "Q8_0"
    assert artifact.summary["licence"] == "apache-2.0"


def test_llama31_position_scaling_is_read_back_from_its_tensor(tmp_path: Path) -> None:
    config = transformers.LlamaConfig(
        hidden_size=128,
        num_attention_heads=2,
        head_dim=64,
        max_position_embeddings=131072,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 10_000.0,
            "factor": 32.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
    )
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    plain = 10_000.0 ** -(torch.arange(32) / 32)
    divisors = (plain / scaled).numpy().astype(np.float32)
    long = {"llama.context_length": 131072}
    path = write_tiny(tmp_path / "m.gguf", changes=long, extra={"rope_freqs.weight": divisors})
    found = open_gguf_model(path, torch.float32)
    assert found.config.rope_parameters["rope_type"] == "llama3"
    assert found.config.rope_parameters["factor"] == 32.0
    assert found.config.rope_parameters["rope_theta"] == 10_000.0
    assert len(dict(found.weights())) == len(imported(write_tiny(tmp_path / "n.gguf")))
