"""Rows trained on pairs of words against the frozen model."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tasks.embedding.frozen_body import frozen_body
from tasks.embedding.pieces import Pieces
from tasks.embedding.prealign import (
    AlignedRows,
    AlignmentSettings,
    align_rows,
    contrastive_loss,
    word_states,
)
from tasks.embedding.word_pairs import (
    NoWordsToAlignError,
    WordPairs,
    batch_side,
    draw_pairs,
    pair_words,
)

N_OLD, WIDTH, N_WORDS = 24, 16, 8
SETTINGS = AlignmentSettings(
    n_steps=80,
    pairs_per_step=8,
    lr=0.03,
    temperature=0.1,
    n_layers=None,
    compute_dtype=torch.float32,
    seed=0,
)


@pytest.fixture
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=N_OLD, hidden_size=WIDTH, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, initializer_range=0.25,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def translated() -> WordPairs:
    """Word i is old tokens i + 1, i + 9; its translation is new token N_OLD + i alone."""
    numbers = np.arange(N_WORDS)
    old = Pieces.from_lists([[i + 1, i + 9] for i in range(N_WORDS)])
    return WordPairs(
        old, Pieces.from_lists([[N_OLD + i] for i in range(N_WORDS)]), numbers, numbers
    )


def align(model: LlamaForCausalLM, settings: AlignmentSettings = SETTINGS) -> AlignedRows:
    """One token more than there are words, which no pair teaches."""
    start_KD = np.random.default_rng(0).normal(size=(N_WORDS + 1, WIDTH)).astype(np.float32)
    match_W = np.append(np.arange(N_OLD), np.full(N_WORDS + 1, -1)).astype(np.int32)
    tokens_K = np.arange(N_OLD, N_OLD + N_WORDS + 1)
    return align_rows(model, translated(), start_KD, tokens_K, match_W, (0, 0), settings)


def test_loss_by_hand():
    # One layer, at temperature 1: word 0 is found as it is, word 1 lies across.
    wanted = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    found = torch.tensor([[[3.0, 0.0], [2.0, 0.0]]])
    alone = torch.eye(2, dtype=torch.bool)
    # Scores of the translations are (1, 0) and (1, 0); of the words (1, 1) and (0, 0).
    e, two = np.e, np.log(2)
    expected = (np.log(e + 1) - 1 + np.log(e + 1) + two + two) / 4
    assert contrastive_loss(found, wanted, alone, 1.0).item() == pytest.approx(expected)


def test_pairs_that_share_a_word_are_no_wrong_answers():
    draw = torch.Generator().manual_seed(0)
    found, wanted = (torch.randn(3, 4, 5, generator=draw) for _ in range(2))
    same = torch.eye(4, dtype=torch.bool)
    same[0, 1] = same[1, 0] = True
    layers = []
    for f, w in zip(found, wanted, strict=True):
        scores = torch.nn.functional.cosine_similarity(f[:, None], w[None], dim=-1) / 0.5
        for table in (scores, scores.T):
            for i in range(4):
                others = [j for j in range(4) if j == i or {i, j} != {0, 1}]
                layers.append(table[i, others].logsumexp(0) - table[i, i])
    assert contrastive_loss(found, wanted, same, 0.5).item() == pytest.approx(
        torch.stack(layers).mean().item(), rel=1e-5
    )


def test_translations_are_told_apart_and_the_model_is_left_alone(model: LlamaForCausalLM):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    made = align(model)
    start = align(model, replace(SETTINGS, n_steps=0))
    assert made.loss[-1] < 0.5 * made.loss[0]
    assert made.seen.tolist() == [True] * N_WORDS + [False]
    assert made.input[-1].tobytes() == start.input[-1].tobytes()
    assert (made.input[:-1] != start.input[:-1]).any(axis=1).all()
    for name, tensor in model.state_dict().items():
        assert torch.equal(before[name], tensor), name
    assert not start.seen.any()


def test_same_seed_same_rows(model: LlamaForCausalLM):
    few = replace(SETTINGS, n_steps=4, pairs_per_step=3)
    once, again = align(model, few), align(model, few)
    np.testing.assert_array_equal(once.input, again.input)
    assert (align(model, replace(few, seed=1)).input != once.input).any()


def test_layers_are_those_of_the_model(model: LlamaForCausalLM):
    ids_BL = torch.randint(N_OLD, (2, 7))
    with frozen_body(model, None) as body, torch.no_grad():
        states_HBLD = body.states_of_layers(body.old_rows(ids_BL))
        expected = model.model(ids_BL, output_hidden_states=True).hidden_states
        torch.testing.assert_close(states_HBLD, torch.stack(expected))
        torch.testing.assert_close(states_HBLD[-1], body.states(body.old_rows(ids_BL)))


def test_a_words_state_does_not_depend_on_the_other_words_of_its_batch(model: LlamaForCausalLM):
    words = Pieces.from_lists([[3, 4], [5], [6, 7, 8, 9, 10, 11]])
    with frozen_body(model, None) as body, torch.no_grad():

        def states(*numbers: int) -> torch.Tensor:
            side = batch_side(words, np.array(numbers), 0)
            return word_states(body, body.old_rows(torch.from_numpy(side.ids)), side)

        torch.testing.assert_close(states(0, 1, 2)[:, 1], states(1)[:, 0])
        hidden = model.model(torch.tensor([[0, 3, 4]]), output_hidden_states=True).hidden_states
        expected = torch.stack(hidden)[:, 0, 1:].mean(dim=1)
        torch.testing.assert_close(states(2, 0)[:, 1], expected)


def letters(texts: list[str]) -> list[list[int]]:
    """Ids of letters; ``qu`` is one token, 300."""
    return [[300 if c == "Q" else ord(c) for c in text.replace("qu", "Q")] for text in texts]


def test_words_are_cut_both_ways_and_kept_where_they_teach():
    pairs = [("a", "qu"), ("b", "x"), ("b", "qu")]
    is_new_W = np.arange(301) == 300
    made = pair_words(pairs, lambda texts: [[*text.encode()] for text in texts], letters, is_new_W)
    assert [made.old.of(i) for i in range(len(made))] == [[97], [98], [32, 97], [32, 98]]
    assert [made.new.of(i) for i in range(len(made))] == [[300], [300], [32, 300], [32, 300]]
    assert made.word.tolist() == [0, 1, 0, 1]
    assert made.translation.tolist() == [0, 0, 0, 0]
    with pytest.raises(NoWordsToAlignError, match=r"none of 1 words .*1 new tokens.*reversed"):
        pair_words(pairs[1:2], letters, letters, is_new_W)


def test_every_pair_has_its_turn():
    drawn = np.concatenate([*draw_pairs(10, 4, 5, 0)])
    assert sorted(drawn.tolist()) == sorted([*range(10)] * 2)
    assert all(len(batch) == 3 for batch in draw_pairs(3, 8, 4, 0))
