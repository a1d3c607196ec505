"""Which step gives each token its rows: kept, made by the initialiser, or a named fallback.

Dimensions: W = new vocabulary, K = tokens that need rows.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from tasks.embedding.config_base import FallbackStep
from tasks.embedding.row_plan import Kind, RowPlan
from tasks.embedding.rows import Step
from tasks.shared.vocabulary import UncoverableTokenError, Vocabulary

_STEP_OF_KIND: dict[Kind, Step] = {
    "copied": "kept",
    "special_role": "kept",
    "special_text": "kept",
    "tool_text": "mean_of_pieces",
    "reserved": "reserved",
    "unassigned": "mean",
}


def choose_steps(
    plan: RowPlan,
    target: Vocabulary,
    method: str,
    found_K: Bool[np.ndarray, " K"],
    chain: Sequence[FallbackStep],
    donor_has: str = "",
) -> tuple[Step, ...]:
    """Name the step for each token of the new vocabulary.

    Args:
        plan: what each new token is to the source.
        target: the new vocabulary, for the error.
        method: the initialiser, for the error.
        found_K: tokens it has something for.
        chain: what to try in turn for the others; its last step covers everything or is error.
        donor_has: which tokens a donor has, in words, for the error, where it lacks some.

    Raises:
        UncoverableTokenError: the chain comes to ``error`` for some tokens.
    """
    found = dict(zip(plan.needed.tolist(), found_K.tolist(), strict=True))
    has_pieces_W = plan.pieces.lengths > 0
    steps: list[Step | None] = []
    for token, kind in enumerate(plan.kinds):
        if kind in _STEP_OF_KIND:
            steps.append(_STEP_OF_KIND[kind])
        elif found[token]:
            steps.append("made")
        else:
            steps.append(_first_step(chain, has_pieces=bool(has_pieces_W[token])))
    lost = [token for token, step in enumerate(steps) if step is None]
    if lost:
        _refuse(plan, target, method, lost, donor_has)
    return tuple(step for step in steps if step is not None)


def _first_step(chain: Sequence[FallbackStep], *, has_pieces: bool) -> Step | None:
    """Take the first step that can serve a token; None is ``error``."""
    for step in chain:
        if step == "error":
            return None
        if step != "mean_of_pieces" or has_pieces:
            return step
    return None


def _refuse(
    plan: RowPlan, target: Vocabulary, method: str, lost: list[int], donor_has: str
) -> None:
    bare = [token for token in lost if plan.kinds[token] == "uncovered"]
    shown = f"(first: {[target.token_text[token] for token in lost[:5]]})"
    other = "choose another initialiser"
    if donor_has:
        shown += f": {donor_has}"
        other = "name as the donor the model that this tokenizer comes from"
    if bare:
        raise UncoverableTokenError(
            f"{len(lost)} new tokens have no rows, {len(bare)} of them neither in the source "
            f"vocabulary nor made of its pieces {shown}; let the embedding stage's "
            "fallback end with mean, map special ones in special_tokens, or leave them out of "
            "the tokenizer."
        )
    raise UncoverableTokenError(
        f"initialiser {method} has nothing for {len(lost)} new tokens {shown}; let the embedding "
        f"stage's fallback begin with mean_of_pieces, or {other}."
    )
