"""Continuations of the tiny model: long enough, repeatable, and of tokens that spell text."""

from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from transformers import PreTrainedModel

from tasks.evaluation.generation import Continuation, Sampling, continue_prompts
from tasks.evaluation.tables import timings_table
from tasks.shared.model_loading import load_causal_lm, load_tokenizer

GREEDY = Sampling(new_characters=16, temperature=0.0, top_p=1.0, seed=0)
PROMPTS = ("The program reads", "Das")
SPECIAL = [0, 1, 2]
Tiny = tuple[PreTrainedModel, Tokenizer]


@pytest.fixture(scope="module")
def tiny(tiny_model_folder: Path) -> Tiny:
    return load_causal_lm(tiny_model_folder), load_tokenizer(tiny_model_folder)


def run(tiny: Tiny, sampling: Sampling, never: list[int] = SPECIAL) -> list[Continuation]:
    return continue_prompts(tiny[0], tiny[1], 0, never, PROMPTS, sampling)


def texts(found: list[Continuation]) -> list[str]:
    return [continuation.text for continuation in found]


def test_greedy_is_the_same_each_time_whatever_the_seed(tiny: Tiny):
    found = run(tiny, GREEDY)
    assert [continuation.prompt for continuation in found] == list(PROMPTS)
    assert texts(found) == texts(run(tiny, replace(GREEDY, seed=7)))


def test_greedy_takes_the_likeliest_token_that_is_allowed(tiny: Tiny):
    import torch

    model, tokenizer = tiny
    ids = [0, *tokenizer.encode(PROMPTS[0], add_special_tokens=False).ids]
    with torch.inference_mode():
        order = model(torch.tensor([ids])).logits[0, -1].argsort(descending=True).tolist()
    first = run(tiny, GREEDY)[0].text
    assert first.startswith(tokenizer.decode([next(i for i in order if i not in SPECIAL)]))


def test_sampling_depends_on_the_seed_alone(tiny: Tiny):
    sampled = replace(GREEDY, temperature=1.0, top_p=0.9)
    assert texts(run(tiny, sampled)) == texts(run(tiny, sampled))
    assert texts(run(tiny, sampled)) != texts(run(tiny, replace(sampled, seed=1)))


@pytest.mark.parametrize("n_characters", [1, 40])
def test_the_text_is_long_enough_and_ends_soon_after(tiny: Tiny, n_characters: int):
    longest = max(map(len, tiny[1].get_vocab()))
    for found in run(tiny, replace(GREEDY, new_characters=n_characters)):
        assert n_characters <= len(found.text.rstrip("\ufffd")) < n_characters + longest
        assert found.n_tokens > 0
        assert found.seconds > 0


def test_characters_of_many_bytes_count_once(tiny: Tiny):
    two_byte_lead, two_byte_tail = (tiny[1].token_to_id(token) for token in ("Ã", "¤"))
    never = [i for i in range(600) if i not in (two_byte_lead, two_byte_tail)]
    found = run(tiny, replace(GREEDY, new_characters=6), never)[0]
    assert found.n_tokens >= 6
    assert set(found.text) <= {"ä", "\ufffd"}


def test_ids_that_are_ruled_out_are_never_chosen(tiny: Tiny):
    only = tiny[1].token_to_id("e")
    found = run(tiny, GREEDY, [i for i in range(600) if i != only])
    assert texts(found) == ["e" * GREEDY.new_characters] * len(PROMPTS)


def test_nothing_to_continue_is_no_speed(tiny: Tiny):
    assert continue_prompts(tiny[0], tiny[1], 0, SPECIAL, (), GREEDY) == []
    assert timings_table([]).num_rows == 0


def test_speed_is_all_text_over_all_time():
    found = [Continuation("a", "x" * 30, 10, 1.0), Continuation("b", "y" * 10, 6, 1.0)]
    assert {r["unit"]: r["value"] for r in timings_table(found).to_pylist()} == {
        "characters/s": 20.0,
        "tokens/s": 8.0,
    }
