"""Continue a prompt by a number of characters, and take the time.

Characters and not tokens: a tokenizer with longer tokens is faster by needing fewer steps, and
only a unit of text shows it.
"""

import time
from dataclasses import dataclass
from typing import cast

import torch
from transformers import GenerationConfig, PreTrainedModel, StoppingCriteria

from tasks.shared.text_tokenizer import TextTokenizer

_WARM_UP_CHARACTERS = 8
_MAX_BYTES_OF_A_CHARACTER = 4
"""In UTF-8; no token is shorter than a byte."""
_INCOMPLETE = "\ufffd"
"""Stands where the bytes so far make no character."""


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen; temperature 0 takes the likeliest."""

    new_characters: int
    temperature: float
    top_p: float
    seed: int


@dataclass(frozen=True)
class Continuation:
    """What a model made of a prompt."""

    prompt: str
    text: str
    n_tokens: int
    seconds: float


def continue_prompts(
    model: PreTrainedModel,
    tokenizer: TextTokenizer,
    prefix_id: int,
    never_ids: list[int],
    prompts: tuple[str, ...],
    sampling: Sampling,
) -> list[Continuation]:
    """Continue each prompt after the document prefix, one at a time.

    Args:
        model: on its device.
        tokenizer: of the model.
        prefix_id: what stands before a document.
        never_ids: ids that are never chosen: special tokens, since an early end would make speeds
            incomparable, and rows that no token has, since they spell nothing.
        prompts: in the order of the result.
        sampling: how tokens are chosen, and how much text is enough.
    """
    if not prompts:
        return []
    brief = Sampling(_WARM_UP_CHARACTERS, 0.0, 1.0, sampling.seed)
    _continue(model, tokenizer, prefix_id, never_ids, prompts[0], brief)
    return [
        _continue(model, tokenizer, prefix_id, never_ids, prompt, sampling) for prompt in prompts
    ]


def _continue(
    model: PreTrainedModel,
    tokenizer: TextTokenizer,
    prefix_id: int,
    never_ids: list[int],
    prompt: str,
    sampling: Sampling,
) -> Continuation:
    prompt_ids = [prefix_id, *tokenizer.encode(prompt, add_special_tokens=False).ids]
    input_ids = torch.tensor([prompt_ids], device=model.device)
    enough = _EnoughCharacters(tokenizer, len(prompt_ids), sampling.new_characters)
    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(sampling.seed)
        started = time.perf_counter()
        output = model.generate(  # pyright: ignore[reportCallIssue]
            input_ids,
            attention_mask=torch.ones_like(input_ids),
            generation_config=_choice(sampling, never_ids, prefix_id),
            stopping_criteria=[enough],
        )
        seconds = time.perf_counter() - started
    new_ids: list[int] = output[0, len(prompt_ids) :].tolist()
    return Continuation(prompt, tokenizer.decode(new_ids), len(new_ids), seconds)


def _choice(sampling: Sampling, never_ids: list[int], pad_id: int) -> GenerationConfig:
    """A whole generation config, so that nothing of the model's own slips in."""
    choice = GenerationConfig(
        max_new_tokens=sampling.new_characters * _MAX_BYTES_OF_A_CHARACTER,
        suppress_tokens=never_ids or None,
        pad_token_id=pad_id,
        do_sample=sampling.temperature > 0,
    )
    if sampling.temperature > 0:
        choice.temperature = sampling.temperature
        choice.top_p = sampling.top_p
        choice.top_k = 0
    return choice


class _EnoughCharacters(StoppingCriteria):
    """Stop once the new tokens spell enough text."""

    def __init__(self, tokenizer: TextTokenizer, n_prompt: int, n_characters: int) -> None:
        self._tokenizer = tokenizer
        self._n_prompt = n_prompt
        self._n_characters = n_characters

    def __call__(
        self, input_ids: torch.Tensor, scores: object, **kwargs: object
    ) -> torch.BoolTensor:
        new_ids = input_ids[0, self._n_prompt :].tolist()
        text = self._tokenizer.decode(new_ids).rstrip(_INCOMPLETE)
        done = len(text) >= self._n_characters
        return cast(torch.BoolTensor, torch.tensor([done], device=input_ids.device))
