"""The chunked loss against transformers' own, in one run: it may not cost more."""

import time
from collections.abc import Callable

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tasks.pretraining.loss import CausalLoss

pytestmark = pytest.mark.benchmark


def seconds(step: Callable[[], torch.Tensor], model: torch.nn.Module) -> float:
    """The median of five forward and backward passes, after one to warm up."""
    taken = []
    for _ in range(6):
        model.zero_grad(set_to_none=True)
        started = time.perf_counter()
        step().backward()
        taken.append(time.perf_counter() - started)
    return sorted(taken[1:])[2]


def test_chunks_cost_no_more_than_full_logits():
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=50_000, hidden_size=256, intermediate_size=512, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=4, tie_word_embeddings=False,
        )
    )  # fmt: skip
    ids_BS = torch.randint(0, 50_000, (4, 256))
    labels_BS = ids_BS.roll(-1, 1)
    positions_BS = torch.arange(256).expand(4, -1)
    ours = CausalLoss(model)

    def chunked() -> torch.Tensor:
        nats, n_targets = ours(ids_BS, labels_BS, positions_BS)
        return nats / n_targets

    def full() -> torch.Tensor:
        return model(input_ids=ids_BS, labels=ids_BS).loss

    ratio = seconds(chunked, model) / seconds(full, model)
    print(f"\nchunked / full logits: {ratio:.2f}")  # noqa: T201
    assert ratio < 1.2
