"""The chunked loss must be the model's own loss, in value and in every gradient."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
    PhiConfig,
    PhiForCausalLM,
    PreTrainedModel,
)

from tasks.pretraining.errors import UnsupportedHeadError
from tasks.pretraining.head_loss import LogitRule, head_nats
from tasks.pretraining.loss import CausalLoss, check_loss
from tasks.pretraining.packing import IGNORED
from tasks.shared.model_loading import load_causal_lm

SMALL = {
    "vocab_size": 67, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2, "max_position_embeddings": 64,
}  # fmt: skip


def batch(vocabulary: int, shape: tuple[int, int] = (2, 12)) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randint(0, vocabulary, shape), torch.randint(0, vocabulary, shape)


def assert_equals_own_loss(model: PreTrainedModel) -> None:
    """Loss and all gradients against ``model(labels=...)``, one target left out."""
    ids, targets = batch(model.config.vocab_size)
    targets[0, 3] = IGNORED
    positions = torch.arange(ids.shape[1]).expand_as(ids)
    model.zero_grad()
    # shift_labels: targets that are already moved on by one, as ours are.
    own = model(input_ids=ids, labels=targets, shift_labels=targets, use_cache=False).loss
    own.backward()
    expected = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    nats, n_targets = CausalLoss(model, chunk_positions=7)(ids, targets, positions)
    (nats / n_targets).backward()
    assert int(n_targets) == 23
    torch.testing.assert_close(nats / n_targets, own, rtol=1e-5, atol=1e-5)
    assert expected
    for name, parameter in model.named_parameters():
        if name in expected:
            torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-5, atol=1e-5)


def test_a_head_of_two_tokens_by_hand():
    hidden = torch.tensor([[1.0, 0.0], [0.0, 2.0]], requires_grad=True)
    weight = torch.eye(2, requires_grad=True)
    targets = torch.tensor([0, IGNORED])
    nats = head_nats(hidden, weight, None, targets, LogitRule(), 1)
    nats.backward()
    share = 1 / (1 + torch.e)  # softmax of (1, 0) at the wrong token
    assert nats.item() == pytest.approx(-torch.tensor(1 - share).log().item())
    torch.testing.assert_close(hidden.grad, torch.tensor([[-share, share], [0.0, 0.0]]))
    torch.testing.assert_close(weight.grad, torch.tensor([[-share, 0.0], [share, 0.0]]))


def test_tied_llama(tiny_model_folder: Path):
    assert_equals_own_loss(load_causal_lm(tiny_model_folder, torch.float32))


def test_untied_llama(tiny_untied_model_folder: Path):
    assert_equals_own_loss(load_causal_lm(tiny_untied_model_folder, torch.float32))


@pytest.mark.parametrize(
    "make",
    [
        lambda: PhiForCausalLM(PhiConfig(**SMALL)),  # head bias
        lambda: Gemma2ForCausalLM(Gemma2Config(**SMALL, final_logit_softcapping=0.5)),
        lambda: CohereForCausalLM(CohereConfig(**SMALL, logit_scale=0.25)),
        lambda: GraniteForCausalLM(GraniteConfig(**SMALL, logits_scaling=8.0)),
        lambda: GPT2LMHeadModel(
            GPT2Config(vocab_size=67, n_embd=16, n_layer=2, n_head=2, n_positions=64,
                       bos_token_id=1, eos_token_id=2)
        ),
    ],
    ids=["head_bias", "softcap", "logit_scale", "logits_scaling", "gpt2"],
)  # fmt: skip
def test_other_architectures(make):
    torch.manual_seed(1)
    model = make().eval()
    assert_equals_own_loss(model)
    check_loss(CausalLoss(model))


def test_bfloat16_autocast_agrees_with_the_plain_head(tiny_untied_model_folder: Path):
    model = load_causal_lm(tiny_untied_model_folder, torch.float32)
    ids, targets = batch(model.config.vocab_size)
    positions = torch.arange(ids.shape[1]).expand_as(ids)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        nats, _ = CausalLoss(model)(ids, targets, positions)
        logits = model(input_ids=ids, use_cache=False).logits
    plain = cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="sum")
    torch.testing.assert_close(nats, plain, rtol=1e-4, atol=0)


def test_packed_documents_do_not_see_each_other(tiny_model_folder: Path):
    model = load_causal_lm(tiny_model_folder, torch.float32)
    ids, _ = batch(model.config.vocab_size, (1, 20))
    lengths = [3, 9, 1, 7]
    positions = torch.cat([torch.arange(n) for n in lengths])[None]
    with torch.no_grad():
        packed = model(input_ids=ids, position_ids=positions, use_cache=False).logits[0]
        apart = [model(input_ids=part, use_cache=False).logits[0] for part in ids.split(lengths, 1)]
    torch.testing.assert_close(packed, torch.cat(apart), rtol=1e-5, atol=1e-5)


def test_no_gradient_is_kept_for_a_frozen_head(tiny_untied_model_folder: Path):
    model = load_causal_lm(tiny_untied_model_folder, torch.float32)
    model.get_output_embeddings().weight.requires_grad_(False)
    ids, targets = batch(model.config.vocab_size)
    nats, _ = CausalLoss(model)(ids, targets, torch.arange(12).expand_as(ids))
    nats.backward()
    assert model.get_output_embeddings().weight.grad is None
    assert model.get_input_embeddings().weight.grad is not None


def test_logits_changed_in_an_unknown_way_are_refused(tiny_untied_model_folder: Path):
    model = load_causal_lm(tiny_untied_model_folder, torch.float32)
    model.get_output_embeddings().register_forward_hook(lambda _m, _i, logits: logits * 3)
    with pytest.raises(UnsupportedHeadError, match="LlamaForCausalLM"):
        check_loss(CausalLoss(model))


def test_a_head_that_is_no_matrix_is_refused(tiny_untied_model_folder: Path):
    model = load_causal_lm(tiny_untied_model_folder, torch.float32)
    model.set_output_embeddings(nn.Identity())
    with pytest.raises(UnsupportedHeadError, match="Identity"):
        check_loss(CausalLoss(model))
