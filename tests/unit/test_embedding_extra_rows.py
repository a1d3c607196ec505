"""Rows of tool tokens and reserved tokens, on both sides, whichever method made the others."""

from collections.abc import Sequence

import numpy as np
import pytest

from tasks.embedding.config import EmbeddingConfig
from tasks.embedding.config_source import Composed, MeanOfPieces, Normal
from tasks.embedding.constant_direction import ConstantDirection
from tasks.embedding.description import describe
from tasks.embedding.extra_rows import tool_texts, with_reserved_rows
from tasks.embedding.head_rule import head_prior
from tasks.embedding.initialise import Choices, initialise
from tasks.embedding.initialisers import make_from_source
from tasks.embedding.known import Known
from tasks.embedding.lineage import lineage_tables
from tasks.embedding.row_plan import RowPlan, plan_rows
from tasks.embedding.rows import NewRows, SourceRows
from tasks.shared.extra_tokens import ToolToken
from tasks.shared.vocabulary import UncoverableTokenError, Vocabulary

WIDTH = 5


def vocabulary(tokens: list[bytes | str], *merges: tuple[int, int, int]) -> Vocabulary:
    """A str is a special token."""
    return Vocabulary(
        tuple(t if isinstance(t, bytes) else None for t in tokens),
        tuple(t.decode() if isinstance(t, bytes) else t for t in tokens),
        {t: i for i, t in enumerate(tokens) if isinstance(t, str)},
        {},
        merges,
    )


SOURCE = vocabulary(
    ["<eos>", b"a", b"b", b"c", b"ab", "<|free|>", b"bc", b"ca", b"aa"],
    *((1, 2, 4), (2, 3, 6), (3, 1, 7), (1, 1, 8)),
)
TARGET = vocabulary(["<eos>", b"a", b"b", b"c", b"cb", "<|tool|>", "<|free|>"], (3, 2, 4))
TOOL, FREE = 5, 6


def segment_all(tokens: Sequence[bytes]) -> list[list[int]]:
    """``ab`` where it stands, else letters; nothing but a, b and c can be spelled."""
    if any(set(token) - set(b"abc") for token in tokens):
        raise UncoverableTokenError("no piece")
    pieces = {"ab": 4, "a": 1, "b": 2, "c": 3}
    return [
        [pieces[p] for p in t.decode().replace("ab", " ab ").split() for p in _letters(p)]
        for t in tokens
    ]


def _letters(part: str) -> list[str]:
    return [part] if part == "ab" else list(part)


def plan_for(text: bytes = b"abcc", special_tokens: dict[str, str] | None = None) -> RowPlan:
    return plan_rows(SOURCE, TARGET, segment_all, special_tokens or {}, {TOOL: text}, [FREE])


def source_rows(*, tied: bool = False, bias: bool = False) -> SourceRows:
    draw = np.random.default_rng(0)
    input_VD, head_VD = draw.normal(size=(2, len(SOURCE), WIDTH)).astype(np.float32)
    bias_V = draw.normal(size=len(SOURCE)).astype(np.float32) if bias else None
    return SourceRows(input_VD, input_VD if tied else head_VD, bias_V, tied)


METHODS = [MeanOfPieces(), Composed(), Normal(head="first_piece")]
each_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.method)


def rows_for(method, old: SourceRows, plan: RowPlan) -> NewRows:
    known = Known(old, plan, SOURCE, TARGET, np.arange(len(TARGET)))
    towards = ConstantDirection(np.eye(WIDTH)[-1], spread=0.0)
    rows = initialise(
        known,
        make_from_source(method, known),
        Choices(method.method, method.head, ("error",), 0),
        lambda: head_prior(EmbeddingConfig().prefix_prior, plan, known.counts, towards),
    )
    return with_reserved_rows(rows, plan)


@each_method
def test_a_tool_is_the_mean_of_its_words_pieces_by_hand(method):
    old, plan = source_rows(), plan_for(b"abcc")
    assert plan.kinds[TOOL] == "tool_text"
    assert plan.pieces.of(TOOL) == [4, 3, 3]
    rows = rows_for(method, old, plan)
    assert rows.head is not None
    for new, source in ((rows.input, old.input), (rows.head, old.head)):
        np.testing.assert_allclose(new[TOOL], (source[4] + 2 * source[3]) / 3, rtol=1e-5)


@each_method
@pytest.mark.parametrize("bias", [False, True])
def test_a_reserved_token_never_has_the_largest_logit(method, bias: bool):
    old, plan = source_rows(bias=bias), plan_for()
    assert plan.kinds[FREE] == "reserved"
    h_ND = np.random.default_rng(1).normal(size=(500, WIDTH)) * 10
    rows = rows_for(method, old, plan)
    assert rows.head is not None
    logits_NW = h_ND @ rows.head.T + (0 if rows.head_bias is None else rows.head_bias)
    assert (rows.head_bias is not None) is bias
    assert FREE not in set(logits_NW.argmax(axis=1))
    others = np.delete(logits_NW, FREE, axis=1)
    np.testing.assert_allclose(logits_NW[:, FREE], others.mean(axis=1), rtol=1e-4, atol=1e-4)


@each_method
def test_all_other_rows_are_as_without_them(method):
    old = source_rows(bias=True)
    rows = rows_for(method, old, plan_for())
    alone = rows_for(method, old, plan_for(special_tokens={"<|tool|>": "<eos>"}))
    assert rows.head is not None
    assert alone.head is not None
    assert rows.input[:TOOL].tobytes() == alone.input[:TOOL].tobytes()
    assert rows.head[:TOOL].tobytes() == alone.head[:TOOL].tobytes()


def test_a_tied_model_stays_tied():
    old, plan = source_rows(tied=True), plan_for()
    rows = rows_for(MeanOfPieces(), old, plan)
    assert rows.head is None
    assert describe(rows, old, plan)["n_tool_text"] == 1
    assert describe(rows, old, plan)["n_reserved"] == 1


def test_a_token_that_the_source_has_is_that_one_but_reserved_names_are_not():
    known = vocabulary(
        [*(SOURCE.token_bytes[i] or SOURCE.token_text[i] for i in range(6)), "<|tool|>"]
    )
    plan = plan_rows(known, TARGET, segment_all, {}, {TOOL: b"abc"}, [FREE])
    assert (plan.kinds[TOOL], plan.match[TOOL]) == ("special_text", 6)
    assert (plan.kinds[FREE], plan.match[FREE]) == ("reserved", -1)
    told = plan_for(special_tokens={"<|free|>": "<eos>", "<|tool|>": "<|free|>"})
    assert told.match[[TOOL, FREE]].tolist() == [5, 0]
    assert {told.kinds[TOOL], told.kinds[FREE]} == {"special_role"}


def test_words_that_the_source_cannot_spell_leave_a_tool_uncovered():
    plan = plan_for("größe".encode())
    assert plan.kinds[TOOL] == "uncovered"
    with pytest.raises(UncoverableTokenError, match=r"1 new tokens .*<\|tool\|>"):
        rows_for(MeanOfPieces(), source_rows(), plan)


@each_method
def test_lineage_rebuilds_the_rows_of_tools(method):
    old, plan = source_rows(), plan_for(b"ccab")
    rows = rows_for(method, old, plan)
    assert rows.head is not None
    for table, made, source in zip(
        lineage_tables(rows, SOURCE, TARGET),
        (rows.input, rows.head),
        (old.input, old.head),
        strict=True,
    ):
        row, free = table.to_pylist()[TOOL], table.to_pylist()[FREE]
        assert (row["method"], row["source_ids"]) == ("tool_text", [3, 3, 4])
        rebuilt = np.array(row["weights"]) @ source[row["source_ids"]]
        np.testing.assert_allclose(made[TOOL], rebuilt, rtol=1e-5)
        assert (free["method"], free["source_ids"]) == ("reserved", [])


def test_a_tool_is_spelled_by_its_description_or_by_the_words_of_its_name():
    tools = {3: ToolToken("<|web_search2|>", "Finds pages."), 4: ToolToken("<|>", "Nothing.")}
    assert tool_texts(tools, "description") == {3: b"Finds pages.", 4: b"Nothing."}
    assert tool_texts(tools, "name") == {3: b"web search2", 4: b"<|>"}
