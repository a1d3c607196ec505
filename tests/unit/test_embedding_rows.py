"""Rows of a whole vocabulary: what must hold whichever method made them."""

import tracemalloc

import numpy as np
import pytest

from tasks.embedding.checks import BadRowsError, check_rows, find_duplicates
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
from tasks.embedding.description import describe
from tasks.embedding.head_rule import head_prior
from tasks.embedding.initialise import Choices, initialise
from tasks.embedding.initialisers import make_from_source
from tasks.embedding.known import Known
from tasks.embedding.lineage import lineage_tables
from tasks.embedding.merge_regression import fit_merges
from tasks.embedding.row_plan import RowPlan, plan_rows
from tasks.embedding.row_weights import RowWeights
from tasks.embedding.rows import NewRows, Origins, SourceRows
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
    known = Known(old, plan_for(target, special_tokens), SOURCE, target)
    counts_W = np.ones(len(target), np.int64) if counts is None else np.asarray(counts)
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


@each_method
@each_head
@each_model
def test_same_vocabulary_changes_no_bit(method, head: str, model: str):
    old = source_rows(*MODELS[model])
    rows = rows_for(method.model_copy(update={"head": head}), old, SOURCE)
    assert rows.input.tobytes() == old.input.tobytes()
    assert (rows.head is None) is (old.tied and head == "same")
    if rows.head is not None:
        np.testing.assert_array_equal(rows.head, old.head)
    if old.head_bias is not None:
        np.testing.assert_array_equal(rows.head_bias, old.head_bias)
    else:
        assert rows.head_bias is None


@each_method
@each_model
def test_permuted_vocabulary_permutes_rows(method, model: str):
    old, order = source_rows(*MODELS[model]), np.random.default_rng(2).permutation(len(SOURCE))
    tokens = [SOURCE.token_bytes[i] or SOURCE.token_text[i] for i in order]
    new_id = {int(i): new for new, i in enumerate(order)}
    merges = [tuple(new_id[i] for i in merge) for merge in SOURCE.merges]
    rows = rows_for(method.model_copy(update={"head": "untied"}), old, vocabulary(tokens, merges))
    assert rows.input.tobytes() == old.input[order].tobytes()
    assert rows.head is not None
    assert rows.head.tobytes() == old.head[order].tobytes()
    if old.head_bias is not None:
        np.testing.assert_array_equal(rows.head_bias, old.head_bias[order])


@each_method
@each_head
@each_model
def test_old_rows_stay_and_every_row_is_usable(method, head: str, model: str):
    old, n_old = source_rows(*MODELS[model]), len(SOURCE)
    rows = rows_for(method.model_copy(update={"head": head}), old)
    assert rows.input.shape == (len(EXTENDED), WIDTH)
    assert rows.input[:n_old].tobytes() == old.input.tobytes()
    summary = describe(rows, old, plan_for(EXTENDED))
    assert (summary["n_copied"], summary["n_initialised"]) == (n_old, 4)
    assert summary["n_unexplained_equal_rows"] == 0
    assert summary["tied"] is (old.tied and head == "same")
    if rows.head is not None:
        assert rows.head.shape == rows.input.shape
        assert not np.shares_memory(rows.head, rows.input)
        if head != "prefix_prior":
            assert rows.head[:n_old].tobytes() == old.head.tobytes()
    assert (rows.head_bias is None) is (old.head_bias is None)
    tables = lineage_tables(rows, SOURCE, EXTENDED)
    assert [table.num_rows for table in tables] == [len(EXTENDED)] * (1 + (rows.head is not None))


@each_method
@each_model
def test_untying_alone_changes_no_row(method, model: str):
    old = source_rows(*MODELS[model])
    same, untied = (
        rows_for(method.model_copy(update={"head": head}), old) for head in ("same", "untied")
    )
    np.testing.assert_array_equal(untied.input, same.input)
    np.testing.assert_array_equal(untied.head_bias, same.head_bias)
    mirrored = getattr(method, "weighting", "") in ("geometric", "exponential")
    if not (old.tied and mirrored):  # which have weights of their own for a head
        np.testing.assert_array_equal(untied.head, same.input if same.head is None else same.head)


@each_method
@each_model
def test_first_piece_head_by_hand(method, model: str):
    old = source_rows(*MODELS[model])
    rows = rows_for(method.model_copy(update={"head": "first_piece"}), old)
    # aba, abab, cb and bcbc begin with the old pieces ab, ab, c and bc.
    assert rows.head is not None
    np.testing.assert_array_equal(rows.head[7:], old.head[[4, 4, 3, 5]])
    if old.head_bias is not None and rows.head_bias is not None:
        np.testing.assert_array_equal(rows.head_bias[7:], old.head_bias[[4, 4, 3, 5]])


@pytest.mark.parametrize("method", SPARSE, ids=name_of)
def test_convex_methods_stay_within_the_source(method):
    old = source_rows()
    rows = rows_for(method, old)
    for origins in (rows.input_origins, rows.head_origins):
        assert origins is not None
        totals = [sum(origins.weights.of(token)[1]) for token in range(len(EXTENDED))]
        np.testing.assert_allclose(totals, 1, atol=1e-6)
        assert origins.weights.weights.min() >= 0
    norms = np.linalg.norm(rows.input, axis=1)
    assert norms.max() <= np.linalg.norm(old.input, axis=1).max() + 1e-6


@each_method
def test_the_same_choices_give_the_same_bits(method):
    old = source_rows(bias=True)
    once, again = (rows_for(method, old, counts=COUNTS) for _ in range(2))
    assert once.input.tobytes() == again.input.tobytes()
    assert once.head is not None
    assert again.head is not None
    assert once.head.tobytes() == again.head.tobytes()


@each_method
def test_all_byte_tokens_have_rows_of_their_own(method):
    rng = np.random.default_rng(3)
    source = vocabulary(
        [*(bytes([i]) for i in range(256)), b"ab", b"bc"], [(97, 98, 256), (98, 99, 257)]
    )
    target = vocabulary(
        [b"ab", b"abc", *(bytes([i]) for i in range(255, -1, -1))], [(160, 159, 0), (0, 158, 1)]
    )
    rows_VD = rng.normal(size=(258, WIDTH)).astype(np.float32)
    old = SourceRows(rows_VD, rows_VD, None, tied=True)
    plan = plan_rows(source, target, lambda tokens: [[*token] for token in tokens], {})
    known = Known(old, plan, source, target)
    choices = Choices(method.method, "same", ("error",), 0)
    rows = initialise(known, make_from_source(method, known), choices, pytest.fail)
    assert len({row.tobytes() for row in rows.input[2:]}) == 256
    assert rows.input[2:].tobytes() == rows_VD[255::-1].tobytes()


@pytest.mark.parametrize("stored", ["float16", "bfloat16", "float32"])
def test_shared_rows_survive_the_stored_dtype(stored: str):
    import torch

    dtype = getattr(torch, stored)
    stored_VD = torch.randn(len(SOURCE), WIDTH, generator=torch.manual_seed(0)).to(dtype)
    input_VD = stored_VD.float().numpy()
    old = SourceRows(input_VD, input_VD, None, tied=True)
    for rows in (rows_for(method, old, counts=COUNTS) for method in METHODS):
        back = torch.from_numpy(rows.input[: len(SOURCE)]).to(dtype)
        assert torch.equal(back.view(torch.uint8), stored_VD.view(torch.uint8))


@each_method
@pytest.mark.parametrize("head", ["same", "untied", "first_piece"])
def test_old_logits_stay_up_to_new_columns(method, head: str):
    old = source_rows()
    rows = rows_for(method.model_copy(update={"head": head}), old)
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
    found = fit_merges(old.input, np.array(SOURCE.merges, np.int32), 0.01)
    pairs = [(4, 1), (4, 4), (3, 2), (5, 5)]
    made = np.concatenate([found.apply(old.input[[a]], old.input[[b]]) for a, b in pairs])
    made *= found.median_norm / np.median(np.linalg.norm(made, axis=1))
    np.testing.assert_allclose(rows.input[7:], made, rtol=1e-5, atol=1e-6)


def test_composed_rows_mix_mean_and_merges():
    old = source_rows()
    mean = mean_rows(old).input
    alone, third, whole = (
        composed(old, EXTENDED, COUNTS, mean_weight=w).input for w in (0.0, 1 / 3, 1.0)
    )
    np.testing.assert_array_equal(whole, mean)
    np.testing.assert_allclose(third, mean / 3 + alone * 2 / 3, rtol=1e-5, atol=1e-6)


def test_replaced_vocabulary_groups_by_old_first_piece():
    target = vocabulary([b"abab", b"abcb", b"c", "<eos>"])
    rows = composed(source_rows(tied=True), target, [1, 1, 1, 0])
    # "abab" starts with old piece ab, "abcb" with abc: each is alone and keeps all of it.
    assert rows.head is not None
    np.testing.assert_array_equal(rows.head, source_rows(tied=True).head[[4, 6, 3, 0]])


def test_special_tokens_match_by_override_role_and_text():
    target = vocabulary(["<eos>", "<|new|>", b"a"])
    with pytest.raises(UncoverableTokenError, match=r"1 new tokens .*'<\|new\|>'.*special_tokens"):
        mean_rows(source_rows(), target)
    overrides = {"<|new|>": "<eos>"}
    assert plan_for(target, overrides).kinds == ("special_text", "special_role", "copied")
    rows = mean_rows(source_rows(), target, special_tokens=overrides)
    np.testing.assert_array_equal(rows.input[1], source_rows().input[0])


def test_override_that_names_nothing_is_refused():
    with pytest.raises(UnknownTokenError, match="<nothing>"):
        plan_for(SOURCE, {"<eos>": "<nothing>"})


def test_uncovered_and_unassigned_ids_get_the_mean_row():
    target = vocabulary([b"a", b"az", "", b"ab", b"zz"])
    plan, old = plan_for(target), source_rows()
    assert plan.kinds == ("copied", "uncovered", "unassigned", "copied", "uncovered")
    rows = mean_rows(old, target, fallback=("mean",))
    mean, spread = old.input.mean(axis=0), old.input.std(axis=0)
    np.testing.assert_allclose(rows.input[2], mean, rtol=1e-6)
    away = (rows.input[[1, 4]] - mean) / spread
    assert 0 < np.abs(away).max() < 0.05
    assert (away[0] != away[1]).all(), "two bytes that the source lacks must differ"
    summary = describe(rows, old, plan)
    assert (summary["n_fallback"], summary["n_unassigned"]) == (2, 1)
    assert (summary["n_equal_rows"], summary["n_unexplained_equal_rows"]) == (0, 0)
    notes = rows.input_origins.notes[1:3]
    beside = "mean of all old rows, a hundredth of their spread beside it"
    assert notes[0] == f"the source has no pieces for it; {beside}"
    assert notes[1] == "no token has this id; mean of all old rows"


def test_equal_rows_of_tokens_without_pieces_count_too():
    target = vocabulary([b"a", b"z", b"y"])
    plan, old = plan_for(target), source_rows()
    rows = mean_rows(old, target, fallback=("mean",))
    rows.input[2] = rows.input[1]
    assert describe(rows, old, plan)["n_equal_rows"] == 1


def test_a_head_bias_that_is_no_number_is_refused():
    old = source_rows(bias=True)
    rows = mean_rows(old, EXTENDED)
    assert rows.head_bias is not None
    rows.head_bias[3] = np.nan
    with pytest.raises(BadRowsError, match=r"1 head bias rows are not finite"):
        describe(rows, old, plan_for(EXTENDED))


@pytest.mark.parametrize("method", [MergeTree(), MergeRegression(), Composed()], ids=name_of)
def test_where_no_token_is_new_none_needs_merges(method):
    without = vocabulary([b"a", b"ab", b"bc"], [])
    rows = rows_for(method, source_rows(), without)
    assert rows.steps == ("kept",) * 3


@each_head
@each_model
def test_fallback_chain_covers_what_the_method_lacks(head: str, model: str):
    # No merge makes "cbc" here, so merge_tree has nothing for it; nobody has a piece for "z".
    target = vocabulary([b"a", b"b", b"c", b"cbc", b"z", b"cb"], [(2, 1, 5)])
    old, method = source_rows(*MODELS[model]), MergeTree(head=head)
    with pytest.raises(UncoverableTokenError, match=r"2 new tokens have no rows, 1 of them"):
        rows_for(method, old, target)
    with pytest.raises(UncoverableTokenError, match=r"1 new tokens have no rows, 1 of them .*'z'"):
        rows_for(method, old, target, fallback=("mean_of_pieces", "error"))
    rows = rows_for(method, old, target, fallback=("mean_of_pieces", "normal"))
    assert rows.steps == ("kept", "kept", "kept", "mean_of_pieces", "normal", "made")
    np.testing.assert_allclose(rows.input[3], old.input[[3, 5]].mean(axis=0), rtol=1e-6)
    summary = describe(rows, old, plan_for(target))
    assert (summary["n_fallback_mean_of_pieces"], summary["n_fallback_normal"]) == (1, 1)
    assert rows.input_origins.methods[3:] == ("fallback", "fallback", "merge_tree")
    assert rows.input_origins.notes[3] == "merge_tree has nothing for it; mean of its pieces"
    assert rows.input_origins.weights.of(3) == ([3, 5], [0.5, 0.5])


def test_initialiser_without_anything_for_a_token_is_named():
    target = vocabulary([b"b", b"c", b"cbc", b"cb"], [(1, 0, 3)])
    with pytest.raises(UncoverableTokenError, match=r"merge_tree has nothing for 1 .*'cbc'"):
        rows_for(MergeTree(), source_rows(), target)


@pytest.mark.parametrize(
    "chain", [["mean_of_pieces"], ["mean", "error"], ["normal", "mean"], [], "mean",
              ["mean_of_pieces", "mean_of_pieces", "mean"]]
)  # fmt: skip
def test_fallback_that_does_not_end_is_refused(chain):
    with pytest.raises(ValueError, match="fallback"):
        EmbeddingConfig.model_validate({"fallback": chain})


@pytest.mark.parametrize("method", SPARSE, ids=name_of)
def test_lineage_rebuilds_rows(method):
    old = source_rows()
    rows = rows_for(method, old)
    for table, made, source in zip(
        lineage_tables(rows, SOURCE, EXTENDED),
        (rows.input, rows.head),
        (old.input, old.head),
        strict=True,
    ):
        assert made is not None
        assert table["id"].to_pylist() == list(range(len(EXTENDED)))
        for row in table.to_pylist():
            assert sum(row["weights"]) == pytest.approx(1.0)
            assert min(row["weights"]) > 0
            rebuilt = np.array(row["weights"]) @ source[row["source_ids"]]
            np.testing.assert_allclose(made[row["id"]], rebuilt, atol=1e-6)


def test_lineage_names_methods_and_priors():
    rows = composed(source_rows(tied=True), EXTENDED, COUNTS)
    tables = lineage_tables(rows, SOURCE, EXTENDED)
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
    assert heads[7]["source_tokens"] == ["ab"]
    assert (tops[7]["text"], tops[7]["source_tokens"]) == ("aba", ["ab", "a"])
    assert sum(tops[7]["weights"]) == pytest.approx(0.5, rel=1e-6)


def test_summary_counts_equal_rows():
    # The same pieces in another order, or one piece more often: one mean, by construction.
    target = vocabulary([b"abbc", b"bcab", b"bb", b"bbbb"])
    plan, old = plan_for(target), source_rows(tied=True)
    summary = describe(mean_rows(old, target), old, plan)
    assert (summary["n_equal_rows"], summary["n_unexplained_equal_rows"]) == (2, 0)
    assert summary["tied"] is True


def test_rows_equal_without_a_reason_are_found():
    rows_WD = np.ones((3, 2), np.float32)
    weights = RowWeights.from_lists([[0], [1], [0, 0]], [[1.0], [1.0], [0.5, 0.5]])
    origins = Origins(("mean_of_pieces",) * 3, weights, ("",) * 3)
    found = find_duplicates(rows_WD, origins, np.array([True] * 3))
    assert (found.explained, found.unexplained) == (1, (1,))


def test_equal_rows_are_found_in_any_memory_order_and_without_keeping_them():
    n, width = 512, 1024
    rows_WD = np.random.default_rng(0).normal(size=(n, width)).astype(np.float32)
    rows_WD[[7, 300]] = rows_WD[[5, 2]]
    origins = Origins(("normal",) * n, RowWeights.from_lists([[]] * n, [[]] * n), ("",) * n)
    made_W = np.array([True] * n)
    tracemalloc.start()
    found = find_duplicates(rows_WD, origins, made_W)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found.explained, found.unexplained) == (0, (7, 300))
    assert peak < rows_WD.nbytes / 4
    assert find_duplicates(np.asfortranarray(rows_WD), origins, made_W) == found


@pytest.mark.parametrize(("value", "what"), [(np.nan, "not finite"), (0.0, "zero")])
def test_rows_no_model_can_use_are_refused(value: float, what: str):
    rows_WD = np.ones((4, 3), np.float32)
    rows_WD[2] = value
    with pytest.raises(BadRowsError, match=rf"1 head rows are {what} .*\[2\]"):
        check_rows("head", rows_WD, np.array([False, False, True, False]))


def test_zero_row_of_the_source_stays():
    check_rows("input", np.zeros((1, 3), np.float32), np.array([False]))
