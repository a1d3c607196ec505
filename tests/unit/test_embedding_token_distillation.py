"""Input rows trained against the frozen model's own hidden states."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from tasks.embedding.frozen_body import FrozenBody, UnknownBodyError, frozen_body
from tasks.embedding.token_distillation import (
    DistillationDivergedError,
    DistillationSettings,
    DistilledRows,
    NothingToDistilError,
    distil_rows,
)
from tasks.embedding.two_cuts import PairedWindow, Spelling, cut_paired_windows

N_OLD, WIDTH = 24, 16
PAIRS = [(1, 2), (3, 4), (5, 6), (7, 8)]
"""Old ids that new tokens N_OLD, N_OLD + 1... are made of."""
SETTINGS = DistillationSettings(
    n_steps=60,
    windows_per_step=8,
    lr=0.02,
    n_layers=None,
    compute_dtype=torch.float32,
    seed=0,
)


@pytest.fixture
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=N_OLD,
        hidden_size=WIDTH,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=2,
        initializer_range=0.25,
    )
    return LlamaForCausalLM(config).eval()


def pair_windows(n_documents: int = 40) -> list[PairedWindow]:
    """Random text in which the new tokenizer joins every pair; token 0 is the prefix."""
    rng = np.random.default_rng(0)
    documents = []
    for _ in range(n_documents):
        words = rng.integers(0, 2 * len(PAIRS), size=20).tolist()
        old = [i for w in words for i in (PAIRS[w] if w < len(PAIRS) else (9 + w,))]
        new = [N_OLD + w if w < len(PAIRS) else 9 + w for w in words]
        documents.append((np.array(old), np.array(new)))
    old = [bytes([i]) for i in range(N_OLD)]
    new = [*old, *(bytes(pair) for pair in PAIRS), b"--"]
    return cut_paired_windows(documents, Spelling.of(old), Spelling.of(new), (0, 0), 24)[0]


def old_rows(model: nn.Module) -> np.ndarray:
    return model.get_input_embeddings().weight.detach().numpy().copy()


def means(model: nn.Module) -> np.ndarray:
    """Mean of pieces for each pair, and the mean of all for a token that no text holds."""
    rows_VD = old_rows(model)
    return np.stack([*(rows_VD[list(pair)].mean(axis=0) for pair in PAIRS), rows_VD.mean(axis=0)])


def distil(model: nn.Module, settings: DistillationSettings, progress=None) -> DistilledRows:
    match_W = np.append(np.arange(N_OLD), np.full(len(PAIRS) + 1, -1)).astype(np.int32)
    tokens_K = np.arange(N_OLD, N_OLD + len(PAIRS) + 1)
    said = [] if progress is None else progress
    return distil_rows(
        model,
        pair_windows(),
        means(model),
        tokens_K,
        match_W,
        settings,
        lambda done, loss: said.append((done, loss)),
    )


def test_states_come_closer_and_the_model_is_left_alone(model: LlamaForCausalLM):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    said: list[tuple[int, float]] = []
    made = distil(model, SETTINGS, said)
    assert made.loss[-10:].mean() < 0.9 * made.loss[:10].mean()
    assert said == [(i + 1, pytest.approx(loss)) for i, loss in enumerate(made.loss.tolist())]
    assert made.seen.tolist() == [True] * len(PAIRS) + [False]
    np.testing.assert_array_equal(made.input[-1], means(model)[-1])
    after = model.state_dict()
    assert list(after) == list(before)
    for name, tensor in before.items():
        assert torch.equal(after[name], tensor), name
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_no_steps_change_nothing(model: LlamaForCausalLM):
    made = distil(model, replace(SETTINGS, n_steps=0))
    np.testing.assert_array_equal(made.input, means(model))
    assert not made.seen.any()
    assert len(made.loss) == 0


def test_same_seed_same_rows(model: LlamaForCausalLM):
    few = replace(SETTINGS, n_steps=4)
    once, again = distil(model, few), distil(model, few)
    np.testing.assert_array_equal(once.input, again.input)
    other = distil(model, replace(few, seed=1))
    assert (once.input[:-1] != other.input[:-1]).any()


def test_bfloat16_reaches_nearly_the_same(model: LlamaForCausalLM):
    few = replace(SETTINGS, n_steps=10)
    exact, rough = distil(model, few), distil(model, replace(few, compute_dtype=torch.bfloat16))
    np.testing.assert_allclose(rough.loss, exact.loss, rtol=0.1)
    assert (rough.loss != exact.loss).any()


@pytest.mark.parametrize("n_layers", [1, None])
def test_a_token_that_is_one_old_token_becomes_it(model: LlamaForCausalLM, n_layers: int | None):
    """The new token stands everywhere for old token 5, so its row must be found again."""
    rng = np.random.default_rng(1)
    old_texts = [rng.integers(1, 12, size=23) for _ in range(40)]
    windows = [
        PairedWindow(
            np.append(0, text),
            np.append(0, np.where(text == 5, N_OLD, text)),
            np.arange(1, 24),
            np.arange(1, 24),
        )
        for text in old_texts
    ]
    match_W = np.append(np.arange(N_OLD), -1).astype(np.int32)
    wanted_D = old_rows(model)[5]
    start_KD = old_rows(model)[[6]]
    settings = replace(SETTINGS, n_steps=150, windows_per_step=4, lr=0.05, n_layers=n_layers)
    made = distil_rows(model, windows, start_KD, np.array([N_OLD]), match_W, settings)
    assert made.loss[-1] < 0.01 * made.loss[0]
    assert np.linalg.norm(made.input[0] - wanted_D) < 0.1 * np.linalg.norm(start_KD[0] - wanted_D)


def test_one_shared_boundary_alone_can_be_learnt_from(model: LlamaForCausalLM):
    """Its one state does not vary, so nothing could be divided by its variance."""
    window = PairedWindow(
        np.array([0, 1, 2]), np.array([0, N_OLD]), np.array([2]), np.array([1])
    )  # fmt: skip
    few = replace(SETTINGS, n_steps=40, windows_per_step=1)
    match_W = np.append(np.arange(N_OLD), -1).astype(np.int32)
    made = distil_rows(model, [window], means(model)[:1], np.array([N_OLD]), match_W, few)
    assert np.isfinite(made.loss).all()
    assert made.loss[-1] < 0.5 * made.loss[0]
    with frozen_body(model, None) as body, torch.no_grad():
        wanted_D = body.states(body.old_rows(torch.tensor([[0, 1, 2]])))[0, 2]
        rows_LD = torch.from_numpy(np.stack([old_rows(model)[0], means(model)[0]]))
        found_D = body.states(rows_LD[None])[0, 1]
    first = (found_D - wanted_D).square().sum() / wanted_D.square().sum()
    assert made.loss[0] == pytest.approx(float(first), rel=1e-5)


def test_text_without_new_tokens_is_refused(model: LlamaForCausalLM):
    window = PairedWindow(np.array([0, 1]), np.array([0, 1]), np.array([1]), np.array([1]))
    match_W = np.append(np.arange(N_OLD), -1).astype(np.int32)
    with pytest.raises(NothingToDistilError, match="none of 1 windows of text holds one of the 1"):
        distil_rows(model, [window], means(model)[:1], np.array([N_OLD]), match_W, SETTINGS)


def test_short_body_is_the_model_cut_short(model: LlamaForCausalLM):
    ids_BL = torch.randint(N_OLD, (2, 7))
    with frozen_body(model, 2) as body, torch.no_grad():
        states_BLD = body.states(body.old_rows(ids_BL))
    with torch.no_grad():
        all_states = model(ids_BL, output_hidden_states=True).hidden_states
        expected_BLD = model.model.norm(all_states[2])
    torch.testing.assert_close(states_BLD, expected_BLD)
    assert len(model.model.layers) == 3


def test_layers_come_back_after_an_error(model: LlamaForCausalLM):
    with pytest.raises(KeyError), frozen_body(model, 1):
        raise KeyError
    assert len(model.model.layers) == 3
    assert model.lm_head.weight.requires_grad


def test_other_architectures_and_learnt_positions_work():
    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=N_OLD, n_positions=32, n_embd=WIDTH, n_layer=2, n_head=2)
    ).eval()
    ids_BL = torch.randint(N_OLD, (2, 7))
    with frozen_body(model, None) as body, torch.no_grad():
        expected_BLD = model.transformer(ids_BL).last_hidden_state
        torch.testing.assert_close(body.states(body.old_rows(ids_BL)), expected_BLD)


def test_a_rate_too_high_is_said(model: LlamaForCausalLM):
    with pytest.raises(DistillationDivergedError, match=r"with lr=1e\+38; lower lr"):
        distil(model, replace(SETTINGS, lr=1e38))


def test_too_many_layers_are_refused(model: LlamaForCausalLM):
    with pytest.raises(UnknownBodyError, match="n_layers=4, but the model has 3"):
        distil(model, replace(SETTINGS, n_layers=4))


class Scaled(nn.Embedding):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input) * 4.0


class Shifted(nn.Embedding):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input) + 1.0


def test_rows_are_scaled_as_the_model_scales_them(model: LlamaForCausalLM):
    table = Scaled(N_OLD, WIDTH)
    model.set_input_embeddings(table)
    ids_BL = torch.randint(N_OLD, (2, 7))
    body = FrozenBody(model)
    with torch.no_grad():
        expected_BLD = model.model(ids_BL).last_hidden_state
        torch.testing.assert_close(body.states(body.old_rows(ids_BL)), expected_BLD)
    model.set_input_embeddings(Shifted(N_OLD, WIDTH))
    with pytest.raises(UnknownBodyError, match="Shifted gives something else than a multiple"):
        FrozenBody(model)
