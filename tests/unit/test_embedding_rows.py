"""Rows of a whole vocabulary: what must hold whichever method made them."""

import numpy as np
import pytest

from tasks.embedding.checks import BadRowsError, check_rows, find_duplicates
from tasks.embedding.config import Composed
from tasks.embedding.constant_direction import ConstantDirection
from tasks.embedding.description import describe
from tasks.embedding.lineage import lineage_tables
from tasks.embedding.pieces import Pieces
from tasks.embedding.row_plan import RowPlan, plan_rows
from tasks.embedding.rows import NewRows, SourceRows, composed_rows, mean_rows
from tasks.shared.vocabulary import UncoverableTokenError, UnknownTokenError, Vocabulary

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


def composed(old: SourceRows, target: Vocabulary, counts, **choices) -> NewRows:
    merges = [np.array(v.merges, np.int32).reshape(-1, 3) for v in (SOURCE, target)]
    bias = ConstantDirection(UNIT, bias_unit=1.0, spread=0.0)
    return composed_rows(
        old, plan_for(target), Composed(**choices), *merges, np.asarray(counts), bias
    )


def hidden_states(n: int = 20) -> np.ndarray:
    hidden_ND = np.random.default_rng(5).normal(size=(n, WIDTH))
    hidden_ND[:, -1] = 1.0
    return hidden_ND


@pytest.mark.parametrize("tied", [True, False])
def test_same_vocabulary_changes_no_bit(tied: bool):
    old = source_rows(tied)
    mean = mean_rows(old, plan_for(SOURCE))
    both = composed(old, SOURCE, np.ones(len(SOURCE), np.int64))
    assert mean.input.tobytes() == both.input.tobytes() == old.input.tobytes()
    assert (mean.head is None) is tied
    np.testing.assert_array_equal(both.head, old.head)
    if mean.head is not None:
        assert mean.head.tobytes() == old.head.tobytes()


def test_permuted_vocabulary_permutes_rows():
    old, order = source_rows(bias=True), np.random.default_rng(2).permutation(len(SOURCE))
    tokens = [SOURCE.token_bytes[i] or SOURCE.token_text[i] for i in order]
    rows = mean_rows(old, plan_for(vocabulary(tokens)))
    assert rows.input.tobytes() == old.input[order].tobytes()
    assert rows.head is not None
    assert rows.head.tobytes() == old.head[order].tobytes()
    assert old.head_bias is not None
    np.testing.assert_array_equal(rows.head_bias, old.head_bias[order])


@pytest.mark.parametrize("stored", ["float16", "bfloat16", "float32"])
def test_shared_rows_survive_the_stored_dtype(stored: str):
    import torch

    dtype = getattr(torch, stored)
    stored_VD = torch.randn(len(SOURCE), WIDTH, generator=torch.manual_seed(0)).to(dtype)
    input_VD = stored_VD.float().numpy()
    old = SourceRows(input_VD, input_VD, None, tied=True)
    for rows in (mean_rows(old, plan_for(EXTENDED)), composed(old, EXTENDED, COUNTS)):
        back = torch.from_numpy(rows.input[: len(SOURCE)]).to(dtype)
        assert torch.equal(back.view(torch.uint8), stored_VD.view(torch.uint8))


def test_mean_leaves_old_logits_alone():
    old = source_rows()
    rows = mean_rows(old, plan_for(EXTENDED))
    assert rows.head is not None
    h = hidden_states()
    np.testing.assert_array_equal(h @ rows.head[: len(SOURCE)].T, h @ old.head.T)


@pytest.mark.parametrize("bias", [False, True])
def test_each_first_piece_keeps_its_probability(bias: bool):
    old = source_rows(bias=bias)
    rows = composed(old, EXTENDED, COUNTS)
    assert rows.head is not None
    h = hidden_states()
    old_logits = h @ old.head.T + (0 if old.head_bias is None else old.head_bias)
    logits = h @ rows.head.T + (0 if rows.head_bias is None else rows.head_bias)
    first = plan_for(EXTENDED).pieces.first()
    for piece in range(len(SOURCE)):
        shared = np.exp(logits[:, first == piece]).sum(axis=1)
        np.testing.assert_allclose(shared, np.exp(old_logits[:, piece]), rtol=1e-5)
    assert (rows.head_bias is None) is not bias


def test_composed_input_by_hand():
    # Without the mean, a chain of merges is the map applied twice, brought to the old norm.
    old = source_rows()
    rows = composed(old, EXTENDED, COUNTS, mean_weight=0.0)
    from tasks.embedding.merge_regression import fit_merges

    found = fit_merges(old.input, np.array(SOURCE.merges, np.int32), 0.01)
    pairs = [(4, 1), (4, 4), (3, 2), (5, 5)]
    made = np.concatenate([found.apply(old.input[[a]], old.input[[b]]) for a, b in pairs])
    made *= found.median_norm / np.median(np.linalg.norm(made, axis=1))
    np.testing.assert_allclose(rows.input[7:], made, rtol=1e-5, atol=1e-6)


def test_composed_rows_mix_mean_and_merges():
    old = source_rows()
    mean = mean_rows(old, plan_for(EXTENDED)).input
    alone, third, whole = (
        composed(old, EXTENDED, COUNTS, mean_weight=w).input for w in (0.0, 1 / 3, 1.0)
    )
    np.testing.assert_array_equal(whole, mean)
    np.testing.assert_allclose(third, mean / 3 + alone * 2 / 3, rtol=1e-5, atol=1e-6)


def test_replaced_vocabulary_groups_by_old_first_piece():
    target = vocabulary([b"abab", b"abcb", b"c", "<eos>"])
    rows = composed(source_rows(tied=True), target, [1, 1, 1, 0])
    assert rows.prior is not None
    # "abab" starts with old piece ab, "abcb" with abc: each is alone and keeps all of it.
    assert rows.prior.tolist() == [0, 0, 0, 0]
    assert rows.head is not None


def test_special_tokens_match_by_override_role_and_text():
    target = vocabulary(["<eos>", "<|new|>", b"a"])
    with pytest.raises(UncoverableTokenError, match=r"1 new tokens .*'<\|new\|>'.*special_tokens"):
        plan_for(target).refuse_uncovered(target)
    plan = plan_for(target, {"<|new|>": "<eos>"})
    assert plan.kinds == ("special_text", "special_role", "copied")
    rows = mean_rows(source_rows(), plan)
    np.testing.assert_array_equal(rows.input[1], source_rows().input[0])


def test_override_that_names_nothing_is_refused():
    with pytest.raises(UnknownTokenError, match="<nothing>"):
        plan_for(SOURCE, {"<eos>": "<nothing>"})


def test_uncovered_and_unassigned_ids_get_the_mean_row():
    target = vocabulary([b"a", b"az", "", b"ab"])
    plan, old = plan_for(target), source_rows()
    assert plan.kinds == ("copied", "uncovered", "unassigned", "copied")
    rows = mean_rows(old, plan)
    np.testing.assert_allclose(rows.input[1], old.input.mean(axis=0), rtol=1e-6)
    assert describe(rows, old, plan)["n_fallback"] == 1


def test_lineage_rebuilds_the_mean():
    old, plan = source_rows(), plan_for(EXTENDED)
    rows = mean_rows(old, plan)
    for table, made, source in zip(
        lineage_tables(plan, rows, SOURCE, EXTENDED),
        (rows.input, rows.head),
        (old.input, old.head),
        strict=True,
    ):
        assert table["id"].to_pylist() == list(range(len(EXTENDED)))
        for row in table.to_pylist():
            assert sum(row["weights"]) == pytest.approx(1.0)
            assert min(row["weights"]) > 0
            rebuilt = np.array(row["weights"]) @ source[row["source_ids"]]
            np.testing.assert_allclose(made[row["id"]], rebuilt, atol=1e-6)


def test_lineage_names_methods_and_priors():
    plan = plan_for(EXTENDED)
    rows = composed(source_rows(tied=True), EXTENDED, COUNTS)
    tables = lineage_tables(plan, rows, SOURCE, EXTENDED)
    tops, heads = (table.to_pylist() for table in tables)
    assert [r["method"] for r in tops] == [
        "special_text",
        *["copied"] * 6,
        *["composed"] * 4,
    ]
    assert heads[0]["method"] == "special_text"
    assert heads[7]["method"] == "prefix_prior"
    # "aba" is cut into ab + a; masses of tokens that start with ab: 7.5, 2.5, 0.05.
    assert heads[7]["source_ids"] == [4]
    assert heads[7]["note"] == f"logit + log P(token | ab) = {np.log(2.5 / 10.05):.4f}"
    assert sum(tops[7]["weights"]) == pytest.approx(rows.mean_share, rel=1e-6)


def test_summary_counts_equal_rows():
    # The same pieces in another order, or one piece more often: one mean, by construction.
    target = vocabulary([b"abbc", b"bcab", b"bb", b"bbbb"])
    plan, old = plan_for(target), source_rows(tied=True)
    summary = describe(mean_rows(old, plan), old, plan)
    assert (summary["n_equal_rows"], summary["n_unexplained_equal_rows"]) == (2, 0)
    assert summary["tied"] is True


def test_rows_equal_without_a_reason_are_found():
    rows_WD = np.ones((3, 2), np.float32)
    found = find_duplicates(rows_WD, Pieces.from_lists([[0], [1], [0]]), np.array([True] * 3))
    assert (found.explained, found.unexplained) == (1, (1,))


@pytest.mark.parametrize(("value", "what"), [(np.nan, "not finite"), (0.0, "zero")])
def test_rows_no_model_can_use_are_refused(value: float, what: str):
    rows_WD = np.ones((4, 3), np.float32)
    rows_WD[2] = value
    with pytest.raises(BadRowsError, match=rf"1 head rows are {what} .*\[2\]"):
        check_rows("head", rows_WD, np.array([False, False, True, False]))


def test_zero_row_of_the_source_stays():
    check_rows("input", np.zeros((1, 3), np.float32), np.array([False]))
