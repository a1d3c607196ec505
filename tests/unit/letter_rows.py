"""Rows of a vocabulary of a few letters, by every method that reads old rows alone."""

import numpy as np
import pytest

from tasks.embedding.config import EmbeddingConfig
from tasks.embedding.config_source import (
    Composed,
    Mean,
    MeanOfPieces,
    MergeRegression,
    MergeTree,
    MultivariateNormal,
    Normal,
)
from tasks.embedding.constant_direction import ConstantDirection
from tasks.embedding.head_rule import head_prior
from tasks.embedding.initialise import Choices, initialise
from tasks.embedding.initialisers import make_from_source
from tasks.embedding.known import Known
from tasks.embedding.row_plan import RowPlan, plan_rows
from tasks.embedding.rows import NewRows, SourceRows
from tasks.shared.vocabulary import UncoverableTokenError, Vocabulary

WIDTH = 6
UNIT = np.eye(WIDTH)[-1]
"""Hidden states of these tests have 1 here, so this is an exact constant direction."""


def vocabulary(tokens: list[bytes | str], merges: list[tuple[int, int, int]] | None = None):
    """A str is a special token; ``<eos>`` has the role eos."""
    special = {t: i for i, t in enumerate(tokens) if isinstance(t, str) and t}
    return Vocabulary(
        tuple(t if isinstance(t, bytes) else None for t in tokens),
        tuple(t.decode("latin1") if isinstance(t, bytes) else t for t in tokens),
        special,
        {"eos": special["<eos>"]} if "<eos>" in special else {},
        tuple(merges or ()),
    )


SOURCE = vocabulary(
    ["<eos>", b"a", b"b", b"c", b"ab", b"bc", b"abc"], [(1, 2, 4), (2, 3, 5), (4, 3, 6)]
)
EXTENDED = vocabulary(
    ["<eos>", b"a", b"b", b"c", b"ab", b"bc", b"abc", b"aba", b"abab", b"cb", b"bcbc"],
    [(1, 2, 4), (2, 3, 5), (4, 3, 6), (4, 1, 7), (4, 4, 8), (3, 2, 9), (5, 5, 10)],
)
COUNTS = np.array([0, 5, 3, 2, 7, 1, 4, 2, 0, 1, 1])


def segment_all(tokens):
    """Longest match with the source's pieces; a ``z`` has none."""
    ids = {t: i for i, t in enumerate(SOURCE.token_bytes) if t is not None}
    cut = []
    for token in tokens:
        pieces, rest = [], token
        while rest:
            known = [rest[:n] for n in range(len(rest), 0, -1) if rest[:n] in ids]
            if not known:
                raise UncoverableTokenError(f"no piece for {rest!r}")
            pieces.append(ids[known[0]])
            rest = rest[len(known[0]) :]
        cut.append(pieces)
    return cut


def source_rows(tied: bool = False, bias: bool = False) -> SourceRows:
    rng = np.random.default_rng(0)
    input_VD = rng.normal(size=(len(SOURCE), WIDTH)).astype(np.float32)
    head_VD = input_VD if tied else rng.normal(size=input_VD.shape).astype(np.float32)
    return SourceRows(
        input_VD, head_VD, rng.normal(size=len(SOURCE)).astype(np.float32) if bias else None, tied
    )


def plan_for(target: Vocabulary, special_tokens: dict[str, str] | None = None) -> RowPlan:
    return plan_rows(SOURCE, target, segment_all, special_tokens or {})


SPARSE = [
    MeanOfPieces(),
    MeanOfPieces(weighting="by_length"),
    MeanOfPieces(weighting="geometric"),
    MeanOfPieces(weighting="exponential"),
    MergeTree(),
]
DENSE = [Mean(), Normal(), MultivariateNormal(), MergeRegression(), Composed()]
METHODS = SPARSE + DENSE
HEADS = ["same", "untied", "prefix_prior", "first_piece"]
MODELS = {"tied": (True, False), "untied": (False, False), "tied_bias": (True, True),
          "untied_bias": (False, True)}  # fmt: skip
PRIOR = EmbeddingConfig().prefix_prior


def once_each(vocabulary: Vocabulary) -> np.ndarray:
    """Counts of a corpus that has every token once."""
    return np.ones(len(vocabulary), np.int64)


def name_of(method) -> str:
    return "-".join([method.method, *([method.weighting] if method in SPARSE[1:4] else [])])


each_method = pytest.mark.parametrize("method", METHODS, ids=name_of)
each_head = pytest.mark.parametrize("head", HEADS)
each_model = pytest.mark.parametrize("model", MODELS)


def rows_for(
    method,
    old: SourceRows,
    target: Vocabulary = EXTENDED,
    counts=None,
    fallback=("error",),
    special_tokens: dict[str, str] | None = None,
) -> NewRows:
    counts_W = once_each(target) if counts is None else np.asarray(counts)
    known = Known(old, plan_for(target, special_tokens), SOURCE, target, counts_W)
    unit = ConstantDirection(UNIT, spread=0.0)
    return initialise(
        known,
        make_from_source(method, known),
        Choices(method.method, method.head, fallback, 0),
        lambda: head_prior(PRIOR, known.plan, counts_W, unit),
    )


def mean_rows(old: SourceRows, target: Vocabulary = EXTENDED, **kwargs) -> NewRows:
    return rows_for(MeanOfPieces(), old, target, **kwargs)


def composed(old: SourceRows, target: Vocabulary, counts, **choices) -> NewRows:
    return rows_for(Composed(**choices), old, target, counts)


def hidden_states(n: int = 20) -> np.ndarray:
    hidden_ND = np.random.default_rng(5).normal(size=(n, WIDTH))
    hidden_ND[:, -1] = 1.0
    return hidden_ND
