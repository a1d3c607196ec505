"""What the page says of rows: shares, lengths, neighbours, map and the partial."""

import re

import numpy as np
import pyarrow as pa
import pytest

from tasks.embedding.row_map import map_table
from tasks.embedding.row_norms import norms_table
from tasks.evaluation.page import template
from tasks.evaluation.rows_section import RowsSection, make_rows_section
from tasks.evaluation.token_views import Lineage
from tasks.shared.row_origins import with_fit

NASTY = "<b>&"
NEIGHBOURS = {"id": [7], "token": [NASTY], "neighbour_ids": [[1]], "neighbours": [[NASTY * 2]]}
NOTHING = "focus has nothing for it; mean of its pieces"


def lineage(*rows: tuple[str, str, str]) -> pa.Table:
    return pa.Table.from_pylist(
        [{"part": part, "method": method, "note": note} for part, method, note in rows]
    )


def ring(n: int, radius: float) -> np.ndarray:
    angle = np.linspace(0, 6, n)
    return (radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)).astype(np.float32)


def section_of(lines: pa.Table, has_head: bool, n_new: int = 4) -> RowsSection:
    old, new = ring(40, 2.0), ring(n_new, 5.0)
    groups = {("input", False): old, ("input", True): new}
    if has_head:
        groups |= {("head", False): old, ("head", True): old[:n_new]}
    neighbours = pa.table(NEIGHBOURS | {"cosines": pa.array([[0.25]], pa.list_(pa.float32()))})
    return make_rows_section(
        lines,
        norms_table(groups),
        neighbours.slice(0, min(1, n_new)),
        map_table(old, new),
        [Lineage(NASTY, "input", "focus", ((NASTY, 1.0),), NASTY)] if n_new else [],
    )


UNTIED = lineage(
    ("input", "copied", ""), ("input", "copied", ""), ("input", "focus", "x"),
    ("input", "fallback", NOTHING), ("head", "prefix_prior", "p = 1"),
    ("head", "prefix_prior", "p = 2"), ("head", "copied", ""), ("head", "fallback", NOTHING),
)  # fmt: skip


def test_rows_are_counted_by_method_and_fallbacks_by_reason():
    section = section_of(UNTIED, has_head=True)
    assert section.parts == ["input", "head"]
    assert [(share.method, share.counts) for share in section.shares] == [
        ("copied", ("2 (50.0%)", "1 (25.0%)")),
        (f"fallback: {NOTHING}", ("1 (25.0%)", "1 (25.0%)")),
        ("focus", ("1 (25.0%)", "")),
        ("prefix_prior", ("", "2 (50.0%)")),
    ]


def test_rows_fitted_before_the_training_are_said_to_be():
    fitted = lineage(
        ("input", "copied", ""),
        *[("head", "prefix_prior, fitted", with_fit("", "it comes next 7 times"))] * 1230,
        *[("head", "fallback", with_fit(NOTHING, f"it comes next {n} times")) for n in range(4)],
    )
    said = "1,234 rows of the head were fitted to next tokens of text by then"
    for lines, is_said in ((fitted, True), (UNTIED, False)):
        section = section_of(lines, has_head=True)
        assert (said in " ".join(shown(section).split())) == is_said
        assert section.n_fitted == (1234 if is_said else 0)
    # However often each comes next, they fell back for one reason.
    shares = {share.method: share.counts for share in section_of(fitted, has_head=True).shares}
    assert shares[f"fallback: {NOTHING}"] == ("", "4 (0.3%)")


def test_lengths_are_told_against_the_old_ones():
    section = section_of(UNTIED, has_head=True)
    longer, same = section.norm_sentences
    assert "Input: the median length of 4 new rows is 5 and that of 40 old ones 2." in longer
    assert "0% of the new rows are shorter than 99% of the old ones, and 100% are longer" in longer
    assert re.search(r"Head: .* is 2 and that of 40 old ones 2\.", same)
    assert [part for part, _ in section.norms] == ["input", "head"]


def test_the_map_has_a_mark_a_row_and_its_share():
    section = section_of(UNTIED, has_head=True)
    assert section.map_share == pytest.approx(1.0)
    assert section.map is not None
    assert "old: 40 rows" in section.map
    assert "new: 4 rows" in section.map


def test_a_tied_model_and_one_without_new_tokens():
    tied = section_of(UNTIED.filter(pa.array([True] * 4 + [False] * 4)), has_head=False)
    assert (tied.parts, len(tied.norms)) == (["input"], 1)
    assert "The head is tied" in shown(tied)
    same = section_of(UNTIED.slice(0, 2), has_head=False, n_new=0)
    assert (same.norms, same.map, same.neighbours, same.norm_sentences) == ([], None, [], [])
    assert "<h3>" not in shown(same)


def shown(section: RowsSection) -> str:
    return template("rows_section.html.j2").render(section=section)


def test_the_partial_escapes_all_but_the_plots():
    text = shown(section_of(UNTIED, has_head=True))
    assert text.count("<svg") == 3
    assert "<b>" not in text
    assert text.count("&lt;b&gt;&amp;") == 6
    assert "0.25</span>" in text
