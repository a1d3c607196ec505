"""In which proportions kinds of text stood in the text that a BPE tokenizer was trained on.

Hayase et al. 2024, "Data Mixture Inference: What do BPE Tokenizers Reveal about their Training
Data?" (arXiv 2407.16607). Each merge was the most frequent pair of the training text at its time.
A sample of each category, merged in the same order, tells how frequent all pairs were in that kind
of text; the shares are those under which the merges were the most frequent pairs, as nearly as
that can be had: a linear program with a slack for each merge and each pair.

It has a row for each merge and each pair that stood there, and only those that matter are made.
The program is solved over some of them, the list is replayed over the samples mixed in the shares
found, and pairs that outdo a merge there come in, until those left cannot change much.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from tasks.shared.errors import InputError
from tasks.tokenizer.merge_loop import Words
from tasks.tokenizer.mixture_merges import Merge, number_merges
from tasks.tokenizer.mixture_program import Constraints, Solution, solve_program, uniform
from tasks.tokenizer.mixture_samples import Samples

_TOLERANCE = 1e-3
"""A lack of slack below this, per million bytes, is none: no sample can tell it."""
_ENOUGH = 0.02
"""Part of the objective that may be missing. Shares move by less than 0.002 from there on."""
_ROWS_EACH = 8
_LISTED = 64


class MixtureError(InputError):
    """Shares cannot be inferred from these merges and samples."""


@dataclass(frozen=True)
class Mixture:
    """The shares found, and what they rest on.

    Attributes:
        shares: of the training text's bytes, by category; 1 in all.
        objective: slack needed, in pairs per million bytes.
        gap: by how much more at most the shares would need if every constraint were there.
        misfit: the objective as a part of the frequencies of all merges: 0 where the shares explain
            every merge, and large where a category is missing.
        n_steps: merges used.
        n_absent: merges left out, for no sample holds their pair.
        n_constraints: rows of the program by the end.
        n_rounds: how often it was solved.
    """

    shares: Mapping[str, float]
    objective: float
    gap: float
    misfit: float
    n_steps: int
    n_absent: int
    n_constraints: int
    n_rounds: int


def infer_mixture(
    words_by_category: Mapping[str, Words],
    base: Sequence[bytes],
    merges: Sequence[Merge],
    n_steps: int,
) -> Mixture:
    """Infer the shares of categories in a tokenizer's training text.

    Late merges are rare pairs. Where they occur a few times in a sample, they tell more of the
    sample's luck than of shares: a larger sample allows more steps.

    Args:
        words_by_category: a sample of each, cut into words as that tokenizer cuts them.
        base: bytes of the tokens that the words consist of, all different.
        merges: as training made them, first to last, those of later scaffold tokens included.
        n_steps: how many of the first ones to use.

    Raises:
        MixtureError: fewer than two categories, an empty one, or no merge that occurs.
        MergeOrderError: a merge joins what is no token by then.
    """
    _check(words_by_category)
    tokens, merges_T = number_merges(base, merges[:n_steps])
    words_N = list(words_by_category.values())
    merged_TN = Samples(words_N, tokens, merges_T).frequencies(np.arange(len(merges_T)), merges_T)
    occurs_T = merged_TN.any(axis=1)
    if not occurs_T.any():
        raise MixtureError(
            f"None of {len(merges_T)} merges occurs in the samples of "
            f"{', '.join(words_by_category)}; cut them as the tokenizer cuts text, or give more."
        )
    merged_TN = merged_TN[occurs_T]
    samples = Samples(words_N, tokens, merges_T[occurs_T])
    solution, gap, n_constraints, n_rounds = _solve_lazily(samples, merged_TN)
    return Mixture(
        shares=dict(zip(words_by_category, solution.shares.tolist(), strict=True)),
        objective=solution.objective,
        gap=gap,
        misfit=solution.objective / float((merged_TN @ solution.shares).sum()),
        n_steps=len(merged_TN),
        n_absent=int((~occurs_T).sum()),
        n_constraints=n_constraints,
        n_rounds=n_rounds,
    )


def _solve_lazily(
    samples: Samples, merged_TN: Float64[np.ndarray, "T N"]
) -> tuple[Solution, float, int, int]:
    """Solve over more and more constraints, until all others cannot add much to the objective.

    Returns:
        The last solution, what it may lack, and the numbers of constraints and of rounds.
    """
    n_steps, n_categories = merged_TN.shape
    none = np.zeros(0, np.int64)
    constraints = Constraints(none, none, np.zeros((0, n_categories)))
    solution = uniform(n_categories, n_steps)
    n_listed, n_rounds = _LISTED, 0
    while True:
        bound_T = merged_TN @ solution.shares + solution.merge_slack
        steps, keys, mixed_C = samples.pairs_above(solution.shares, bound_T + _TOLERANCE, n_listed)
        excess_CN = samples.frequencies(steps, keys) - merged_TN[steps]
        found = Constraints(steps, keys, excess_CN)
        lacking_C = solution.lacking(found)
        lacking_C[lacking_C < _TOLERANCE] = 0.0
        gap, is_cut_short = _gap(steps, lacking_C, mixed_C - bound_T[steps], n_steps, n_listed)
        if gap <= _ENOUGH * solution.objective:
            return solution, gap, len(constraints), n_rounds
        if is_cut_short:
            n_listed *= 2
        constraints = constraints.plus(found.worst(lacking_C, _ROWS_EACH))
        solution, n_rounds = solve_program(constraints, n_steps), n_rounds + 1


def _gap(
    steps: Int64[np.ndarray, " C"],
    lacking_C: Float64[np.ndarray, " C"],
    over_C: Float64[np.ndarray, " C"],
    n_steps: int,
    n_listed: int,
) -> tuple[float, bool]:
    """Slack that would do for all constraints if each merge were given what its worst one lacks.

    Args:
        steps: of the pairs found.
        lacking_C: what they lack.
        over_C: how far they are over their merge and its slack, without their own.
        n_steps: T.
        n_listed: how many were looked for at one merge.

    Returns:
        That slack, and whether some merge has so many pairs that not all were found. Those lack no
        more than the rarest one found is over the merge.
    """
    lacking_T = np.zeros(n_steps)
    np.maximum.at(lacking_T, steps, lacking_C)
    found_T = np.bincount(steps, minlength=n_steps)
    full = np.nonzero(found_T == n_listed)[0]
    rarest = np.cumsum(found_T)[full] - 1
    lacking_T[full] = np.maximum(lacking_T[full], over_C[rarest])
    return float(lacking_T.sum()), len(full) > 0


def _check(words_by_category: Mapping[str, Words]) -> None:
    if len(words_by_category) < 2:
        raise MixtureError(
            "Shares need two categories at least to be divided between, and these came: "
            f"{', '.join(words_by_category) or 'none'}; give a sample of each kind of text."
        )
    empty = [name for name, words in words_by_category.items() if not words.counts.any()]
    if empty:
        raise MixtureError(
            f"The sample of {empty[0]} holds no text, and pairs are counted in it; give some, or "
            "leave the category out."
        )
