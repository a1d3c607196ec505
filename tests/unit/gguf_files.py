"""Tiny GGUF models of any architecture, written here with the gguf package."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
import transformers
from tokenizers import pre_tokenizers
from transformers.modeling_gguf_pytorch_utils import (
    TENSOR_PROCESSORS,
    TensorProcessor,
    get_gguf_hf_weights_map,
    load_gguf_checkpoint,
)

from tasks.model.gguf_import import open_gguf_model

SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["Ġ t", "Ġt h", "1 2", "Ġ Ġ", "Ċ Ċ", "ĊĊ Ġ"]
TOKENS = [
    *SPECIALS,
    *sorted(pre_tokenizers.ByteLevel.alphabet()),
    *(merge.replace(" ", "") for merge in MERGES),
]
CHAT = "{% for m in messages %}{{ m['content'] }}<|im_end|>{% endfor %}"
WIDTH, HEADS, KV_HEADS, FEED, LAYERS = 32, 4, 2, 64, 2
EXTRA: dict[str, dict[str, Any]] = {
    "gemma2": {"attention.key_length": 8, "attention.sliding_window": 16},
    "gemma3": {"attention.key_length": 8, "attention.sliding_window": 16},
    "phi3": {"attention.sliding_window": 16},
    "qwen3": {"attention.key_length": 8},
}


def metadata_of(architecture: str, n_tokens: int) -> dict[str, Any]:
    return {
        "block_count": LAYERS,
        "context_length": 64,
        "embedding_length": WIDTH,
        "feed_forward_length": FEED,
        "attention.head_count": HEADS,
        "attention.head_count_kv": HEADS if architecture == "gpt2" else KV_HEADS,
        "rope.freq_base": 10_000.0,
        "rope.dimension_count": 8,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "attention.layer_norm_epsilon": 1e-5,
        "vocab_size": n_tokens,
        **EXTRA.get(architecture, {}),
    }


def write_header(
    path: Path, architecture: str, changes: dict[str, Any], tokens: list[str]
) -> gguf.GGUFWriter:
    writer = gguf.GGUFWriter(path, architecture)
    numbers = {f"{architecture}.{k}": v for k, v in metadata_of(architecture, len(tokens)).items()}
    words = {
        "general.license": "apache-2.0",
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.chat_template": CHAT,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.padding_token_id": 2,
    }
    for key, value in {**numbers, **words, **changes}.items():
        if isinstance(value, str):
            writer.add_string(key, value)
        elif isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif value is not None:
            writer.add_float32(key, value)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if t in SPECIALS else 5 if "[PAD" in t else 1 for t in tokens])
    writer.add_token_merges(MERGES)
    return writer


def close(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def meta_model(path: Path) -> transformers.PreTrainedModel:
    fields = load_gguf_checkpoint(str(path))["config"]
    fields.pop("_model_name_or_path", None)
    config = transformers.AutoConfig.for_model(fields.pop("model_type"), **fields)
    with torch.device("meta"):
        return transformers.AutoModelForCausalLM.from_config(config)


def write_tiny(
    path: Path,
    architecture: str = "llama",
    changes: dict[str, Any] | None = None,
    *,
    tokens: list[str] | None = None,
    untied: bool = False,
    without: str = "",
    extra: dict[str, np.ndarray] | None = None,
) -> Path:
    """Random weights in Q8_0 under the names and shapes the architecture's metadata implies."""
    tokens = tokens or TOKENS
    changes = changes or {}
    # The names follow from the config, so a file with one tensor comes first.
    writer = write_header(path, architecture, changes, tokens)
    writer.add_tensor("output.weight" if untied else "x", np.zeros((1, 32), dtype=np.float32))
    close(writer)
    model = meta_model(path)
    processor = TENSOR_PROCESSORS.get(architecture, TensorProcessor)(config=model.config.to_dict())
    draw = np.random.default_rng(0)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    writer = write_header(path, architecture, changes, tokens)
    for name, hf_name in get_gguf_hf_weights_map(model, processor).items():
        if name == without or (name == "output.weight" and not untied):
            continue
        shape = shapes[hf_name]
        turned = architecture == "gpt2" and name.endswith(
            ("attn_qkv.weight", "ffn_up.weight", "ffn_down.weight", "attn_output.weight")
        )
        values = draw.normal(size=shape[::-1] if turned else shape).astype(np.float32)
        if values.ndim == 2 and values.shape[1] % 32 == 0:
            kind = gguf.GGMLQuantizationType.Q8_0
            packed = gguf.quants.quantize(values, kind)
            writer.add_tensor(name, packed, raw_dtype=kind)
        else:
            writer.add_tensor(name, values)
    for name, values in (extra or {}).items():
        writer.add_tensor(name, values)
    close(writer)
    return path


def imported(path: Path, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    return dict(open_gguf_model(path, dtype).weights())
