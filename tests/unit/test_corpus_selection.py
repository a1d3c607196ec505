"""Each rule by hand, their order, and that the order of reading changes nothing."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pytest

from tasks.corpus.accounting import account
from tasks.corpus.lines import document_id, line_hashes, line_sizes, order_and_side
from tasks.corpus.selection import RULES, Candidates, Limits, Selection, select

LOOSE = Limits(
    min_document_bytes=1,
    max_document_bytes=10_000,
    duplicate_line_min_bytes=10,
    budget_bytes=None,
)
LONG_A = "eine lange Zeile über Verträge"
LONG_B = "eine andere lange Zeile über Häuser"


def candidates_of(
    texts: Sequence[str],
    heldout: Sequence[bool] | None = None,
    sources: Sequence[int] | None = None,
) -> Candidates:
    ids = [document_id(text) for text in texts]
    order, _ = order_and_side(ids, 0, 0.0)
    lines = [text.split("\n")[:-1] for text in texts]
    return Candidates(
        ids,
        np.array(sources or [0] * len(texts), dtype=np.int64),
        order,
        np.array(heldout or [False] * len(texts), dtype=bool),
        np.array([len(each) for each in lines], dtype=np.int64),
        np.concatenate([line_hashes(each) for each in lines]),
        np.concatenate([line_sizes(each) for each in lines]),
    )


def rules_of(selection: Selection) -> list[str]:
    return [RULES[code] for code in selection.document_rule]


def kept_lines(candidates: Candidates, selection: Selection) -> list[list[bool]]:
    ends = np.cumsum(candidates.n_lines)[:-1]
    return [[bool(code == 0) for code in part] for part in np.split(selection.line_rule, ends)]


def test_nothing_is_dropped_from_distinct_documents():
    candidates = candidates_of(["eins\nzwei\n", "drei\n\nvier\n"])
    selection = select(candidates, {}, LOOSE)
    assert rules_of(selection) == ["kept", "kept"]
    assert selection.n_bytes.tolist() == [10, 11]
    assert not selection.line_rule.any()


def test_repeated_document_is_dropped_and_the_heldout_one_stays():
    candidates = candidates_of(["gleich\n", "gleich\n"], heldout=[False, True])
    assert rules_of(select(candidates, {}, LOOSE)) == ["duplicate_document", "kept"]


def test_repeated_line_stays_in_the_heldout_document():
    texts = [f"{LONG_A}\nTrain\n", f"{LONG_A}\nHeldout\n"]
    candidates = candidates_of(texts, heldout=[False, True])
    selection = select(candidates, {}, LOOSE)
    assert kept_lines(candidates, selection) == [[False, True], [True, True]]


def test_short_and_blank_lines_may_repeat():
    candidates = candidates_of(["kurz\n\nkurz\n", "kurz\n\n"])
    assert not select(candidates, {}, LOOSE).line_rule.any()


def test_line_repeated_within_a_document_stands_once():
    candidates = candidates_of([f"{LONG_A}\nx\n  {LONG_A} \n"])
    assert kept_lines(candidates, select(candidates, {}, LOOSE)) == [[True, True, False]]


def test_no_line_rule_for_code():
    limits = Limits(1, 10_000, None, None)
    candidates = candidates_of([f"{LONG_A}\n{LONG_A}\n"])
    assert not select(candidates, {}, limits).line_rule.any()


def test_english_lines_go_only_from_their_source():
    candidates = candidates_of(["see also\nx\n", "see also\ny\n"], sources=[0, 1])
    selection = select(candidates, {0: np.unique(line_hashes(["see also"]))}, LOOSE)
    assert kept_lines(candidates, selection) == [[False, True], [True, True]]
    assert [RULES[code] for code in selection.line_rule[:1]] == ["english_line"]


def test_length_rules_look_at_the_whole_and_at_what_is_left():
    limits = Limits(20, 60, 10, None)
    texts = ["x" * 70 + "\n", f"{LONG_A}\n", f"{LONG_A}\nkurz\n"]
    candidates = candidates_of(texts, heldout=[False, True, False])
    assert rules_of(select(candidates, {}, limits)) == ["too_long", "kept", "too_short"]


def test_budget_is_reached_and_passed_by_less_than_one_document():
    texts = [f"{hashlib.sha256(bytes([i])).hexdigest()}\n" for i in range(20)]
    selection = select(candidates_of(texts), {}, Limits(1, 1000, None, 300))
    kept = selection.n_bytes[selection.document_rule == 0].sum()
    assert 300 <= kept < 300 + 65


def test_reading_order_changes_nothing():
    texts = [f"{LONG_A if i % 3 else LONG_B}\nDokument {i}\n" for i in range(30)]
    limits = Limits(15, 1000, 10, 300)
    shuffled = [texts[i] for i in np.random.default_rng(0).permutation(len(texts))]
    outcomes: list[dict[str, tuple[int, int]]] = []
    for order in (texts, shuffled):
        candidates = candidates_of(order)
        _, heldout = order_and_side(candidates.ids, 0, 0.3)
        candidates = candidates_of(order, heldout=heldout.tolist())
        selection = select(candidates, {}, limits)
        outcomes.append(
            {
                text: (int(rule), int(size))
                for text, rule, size in zip(
                    order, selection.document_rule, selection.n_bytes, strict=True
                )
            }
        )
    assert outcomes[0] == outcomes[1]


def test_side_depends_on_the_document_alone_and_on_the_seed():
    ids = [document_id(f"Dokument {i}") for i in range(2000)]
    order, heldout = order_and_side(ids, 7, 0.1)
    alone_order, alone = order_and_side(ids[5:6], 7, 0.1)
    assert alone[0] == heldout[5]
    assert alone_order[0] == order[5]
    assert 140 < heldout.sum() < 260
    assert (order_and_side(ids, 8, 0.1)[1] != heldout).any()
    assert not order_and_side(ids, 7, 0.0)[1].any()


@pytest.mark.parametrize("budget", [None, 200])
def test_account_adds_up_for_every_source(budget: int | None):
    texts = [f"{LONG_A if i % 3 else LONG_B}\nDokument {i % 11}\n" for i in range(40)]
    heldout = [i % 5 == 0 for i in range(40)]
    candidates = candidates_of(texts, heldout=heldout, sources=[i % 2 for i in range(40)])
    english = {1: np.unique(line_hashes([LONG_B]))}
    selection = select(candidates, english, Limits(14, 1000, 10, budget))
    from collections import Counter

    table = account(
        ["a", "b"],
        candidates,
        selection,
        Counter({("a", "not_utf8"): 2}),
        Counter({("a", "not_utf8"): 50}),
    ).to_pylist()
    for source, extra_documents, extra_bytes in (("a", 2, 50), ("b", 0, 0)):
        rows = [row for row in table if row["source"] == source]
        read = next(row for row in rows if row["rule"] == "read")
        own = [i for i in range(40) if i % 2 == (source == "b")]
        assert read["n_documents"] == len(own) + extra_documents
        assert read["n_bytes"] == sum(len(texts[i].encode()) for i in own) + extra_bytes
        others = [row for row in rows if row["rule"] != "read"]
        assert sum(row["n_bytes"] for row in others) == read["n_bytes"]
        assert sum(row["n_documents"] for row in others) == read["n_documents"]
