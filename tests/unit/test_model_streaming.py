"""Models pass through the stages shard by shard: never a whole one in memory."""

import gc
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from embedding_inputs import MEAN, Inputs, extended
from transformers import LlamaConfig, LlamaForCausalLM

from infra.artifacts import Artifact, open_artifact
from tasks.model.config import ExportConfig, ModelConfig
from tasks.model.task import assemble_model, import_model, lock_model
from tasks.shared.run_options import Display, RunOptions, run_options

WIDTH, LAYER_WIDTH, N_LAYERS = 32, 333, 12
TENSOR_BYTES = 4 * WIDTH * LAYER_WIDTH
BODY_BYTES = 3 * N_LAYERS * TENSOR_BYTES
SHARD_BYTES = 4 * TENSOR_BYTES


class Alive(Display):
    """Weighs the body's wide tensors that are in memory, whoever holds them, at each progress."""

    def __init__(self) -> None:
        self.n_bytes: dict[str, list[int]] = {}

    def progress(self, stage: str, done: int | float, total: int | float, text: str) -> None:
        tensors = [thing for thing in gc.get_objects() if type(thing) is torch.Tensor]
        wide = [t.numel() * t.element_size() for t in tensors if LAYER_WIDTH in t.shape]
        self.n_bytes.setdefault(stage, []).append(sum(wide))


@pytest.fixture
def alive() -> Iterator[Alive]:
    display = Alive()
    token = run_options.set(RunOptions(display=display))
    gc.freeze()  # what is there already is not looked through each time
    yield display
    gc.unfreeze()
    run_options.reset(token)


def deep_model(folder: Path, tokenizer_of: Path) -> Path:
    config = LlamaConfig(
        vocab_size=700, hidden_size=WIDTH, intermediate_size=LAYER_WIDTH,
        num_hidden_layers=N_LAYERS, num_attention_heads=2, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer_of / file, folder)
    return folder


def n_shards(model: Artifact) -> int:
    return len(list(open_artifact(model).glob("model-*.safetensors")))


def test_no_more_than_one_shard_and_the_next_tensor_are_in_memory(
    alive: Alive, tiny_model_folder: Path, small_corpus_texts: list[str], tmp_path: Path
):
    folder = deep_model(tmp_path / "model", tiny_model_folder)
    source = {"kind": "directory", "path": str(folder)}
    config = ModelConfig.model_validate({"source": source, "max_shard_bytes": SHARD_BYTES})
    inputs = Inputs(folder, extended(folder, small_corpus_texts), small_corpus_texts)
    inputs.model = import_model(config, lock_model(config))
    export = ExportConfig(max_shard_bytes=SHARD_BYTES)
    rows = inputs.initialise(MEAN)
    model = assemble_model(export, inputs.model, inputs.tokenizer, rows)
    assert min(n_shards(inputs.model), n_shards(model)) >= BODY_BYTES / SHARD_BYTES
    for stage in ("model", "assembled"):
        assert len(alive.n_bytes[stage]) > 3 * N_LAYERS
        assert 0 < max(alive.n_bytes[stage]) <= SHARD_BYTES + TENSOR_BYTES, alive.n_bytes[stage]
