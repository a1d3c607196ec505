"""Put the rows of a whole vocabulary together from old rows and what an initialiser made.

Dimensions: V = old vocabulary, W = new vocabulary, K = tokens that need rows, C = columns.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32

from tasks.embedding.config_base import FallbackStep, HeadRule
from tasks.embedding.fallback import choose_steps
from tasks.embedding.head_rule import HeadPrior, HeadRows, first_piece_head
from tasks.embedding.known import Known
from tasks.embedding.made_rows import MadeRows
from tasks.embedding.mean import mean_rows
from tasks.embedding.mean_of_pieces import uniform_weights
from tasks.embedding.normal import normal_rows
from tasks.embedding.row_weights import RowWeights, spread
from tasks.embedding.rows import NewRows, Origins, Step

_IN_WORDS: dict[Step, str] = {
    "mean_of_pieces": "mean of its pieces",
    "normal": "drawn from the normal distribution of old rows",
    "mean": "mean of all old rows, a hundredth of their spread beside it",
}
MEAN_SPREAD = np.float32(0.01)
"""Of old rows' spread, by which tokens that fall back to the mean lie around it."""


@dataclass(frozen=True)
class Choices:
    """What decides how rows are put together."""

    method: str
    head: HeadRule
    fallback: Sequence[FallbackStep]
    fallback_seed: int


def initialise(
    known: Known, made: MadeRows, choices: Choices, find_prior: Callable[[], HeadPrior]
) -> NewRows:
    """Give every id of the new vocabulary its rows and say where they come from.

    Reserved tokens are left for when all other rows stand: see ``with_reserved_rows``.

    Args:
        known: old rows, and what each new token is to the source.
        made: what the initialiser made.
        choices: its name, the head rule and the fallback.
        find_prior: asked by the head rule ``prefix_prior`` alone, when all else is in order.

    Raises:
        UncoverableTokenError: some tokens get nothing and the fallback says to stop.
    """
    steps = choose_steps(
        known.plan, known.target, choices.method, made.found, choices.fallback, made.donor_has
    )
    old = known.rows
    rows_WD = _fill(old.input, known, steps, made.input, choices.fallback_seed, 0)
    origins = _origins(known, choices.method, steps, made.input_weights, made.note)
    own = _own_head(known, made, choices, steps, HeadRows(rows_WD, None, origins))
    match choices.head:
        case "same" if old.tied:
            return NewRows(rows_WD, None, own.bias, steps, origins, None)
        case "same" | "untied":
            head = own
        case "prefix_prior":
            head = first_piece_head(known, own, find_prior())
        case "first_piece":
            head = first_piece_head(known, own, None)
    # Where the head is to part from the input, the two must not share their memory.
    head_WD = head.rows.copy() if head.rows is rows_WD else head.rows
    return NewRows(rows_WD, head_WD, head.bias, steps, origins, head.origins)


def _own_head(
    known: Known, made: MadeRows, choices: Choices, steps: tuple[Step, ...], tied: HeadRows
) -> HeadRows:
    """Head rows by the method itself; ``tied`` are those of the input, which a tied head takes."""
    old, seed = known.rows, choices.fallback_seed
    chain: tuple[FallbackStep, ...] = ("mean_of_pieces", choices.fallback[-1])

    def without_method() -> tuple[Step, ...]:
        nothing_K = np.zeros_like(made.found)
        return choose_steps(known.plan, known.target, choices.method, nothing_K, chain)

    if made.head is not None:
        rows_WD = _fill(old.head, known, steps, made.head, seed, 1)
        note = made.note if made.head_note is None else made.head_note
        origins = _origins(known, choices.method, steps, made.head_weights, note)
        head = HeadRows(rows_WD, None, origins)
    elif old.tied:
        head = tied
    else:
        other = without_method()
        rows_WD = _fill(old.head, known, other, made.input, seed, 1)
        head = HeadRows(rows_WD, None, _origins(known, "", other, None, ""))
    if old.head_bias is None:
        return head
    bias_V1, bias_K = old.head_bias[:, None], made.head_bias
    if bias_K is None:
        bias_W1 = _fill(bias_V1, known, without_method(), made.input[:, :1], seed, 2)
    else:
        bias_W1 = _fill(bias_V1, known, steps, bias_K[:, None], seed, 2)
    return replace(head, bias=bias_W1[:, 0])


def _fill(
    source_VC: Float32[np.ndarray, "V C"],
    known: Known,
    steps: tuple[Step, ...],
    made_KC: Float32[np.ndarray, "K C"],
    seed: int,
    part: int,
) -> Float32[np.ndarray, "W C"]:
    """Rows of one part, each by its step."""
    step_W, plan = np.array(steps), known.plan
    rows_WC = np.empty((len(steps), source_VC.shape[1]), np.float32)
    kept, pieces, drawn = (step_W == step for step in ("kept", "mean_of_pieces", "normal"))
    rows_WC[kept] = source_VC[plan.match[kept]]
    rows_WC[step_W == "made"] = made_KC[step_W[plan.needed] == "made"]
    rows_WC[pieces] = uniform_weights(plan.pieces.select(pieces)).rows(source_VC)
    rng = np.random.default_rng([seed, part])
    rows_WC[drawn] = normal_rows(source_VC, int(drawn.sum()), rng)
    mean_1C = mean_rows(source_VC, 1)
    rows_WC[(step_W == "reserved") | (step_W == "mean")] = mean_1C
    # Tokens that nothing is known of are told apart all the same: bytes must differ in a model.
    at_mean = (step_W == "mean") & ~plan.are("unassigned")
    drawn_KC = normal_rows(source_VC, int(at_mean.sum()), rng)
    rows_WC[at_mean] = mean_1C + MEAN_SPREAD * (drawn_KC - mean_1C)
    return rows_WC


def _origins(
    known: Known,
    method: str,
    steps: tuple[Step, ...],
    made: RowWeights | None,
    note: str | tuple[str, ...],
) -> Origins:
    plan, step_W = known.plan, np.array(steps)
    needed = plan.needed.tolist()
    note_of = dict(
        zip(needed, [note] * len(needed) if isinstance(note, str) else note, strict=True)
    )
    kept, pieces = (np.flatnonzero(step_W == step) for step in ("kept", "mean_of_pieces"))
    old = RowWeights(plan.match[kept], np.ones(len(kept), np.float32), np.arange(len(kept) + 1))
    parts = [(kept, old), (pieces, uniform_weights(plan.pieces).take(pieces))]
    if made is not None:
        at_K = np.flatnonzero(step_W[plan.needed] == "made")
        parts.append((plan.needed[at_K], made.take(at_K)))
    explained = [
        _explain(known, token, step, method, note_of.get(token, ""))
        for token, step in enumerate(steps)
    ]
    methods, notes = zip(*explained, strict=True) if explained else ((), ())
    return Origins(methods, spread(len(steps), parts), notes)


def _explain(known: Known, token: int, step: Step, method: str, note: str) -> tuple[str, str]:
    """Name the method of one row and say in words what ids and weights leave out."""
    kind = known.plan.kinds[token]
    if step == "made":
        return method, note
    if kind in ("special_role", "special_text"):
        old = known.source.token_text[known.plan.match[token]]
        return kind, f"{known.target.token_text[token]} takes {old}"
    if step == "kept":
        return "copied", ""
    if kind == "tool_text":
        return kind, "mean of the pieces of what the tool is for"
    if kind == "reserved":
        return kind, "mean of all other new rows"
    if kind == "unassigned":
        return "fallback", "no token has this id; mean of all old rows"
    if kind == "uncovered":
        return "fallback", f"the source has no pieces for it; {_IN_WORDS[step]}"
    if not method:
        return step, "the initialiser makes no rows of its own here"
    return "fallback", f"{method} has nothing for it; {_IN_WORDS[step]}"
