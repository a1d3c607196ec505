"""What the page shows of a tokenizer: metrics side by side, lists, plots and the partial."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from jinja2 import Environment, PackageLoader, StrictUndefined
from tokenizers import Tokenizer, models, pre_tokenizers

from tasks.evaluation.tokenizer_metrics import format_value, metric_lines
from tasks.evaluation.tokenizer_plots import lengths_in_text_plot, rank_frequency_plot
from tasks.evaluation.tokenizer_section import TokenizerSection, make_section
from tasks.shared.byte_alphabet import BYTE_CHARACTERS
from tasks.shared.vocabulary import Vocabulary, read_vocabulary
from tasks.tokenizer.intrinsic import count_tokens_of, intrinsic_metrics
from tasks.tokenizer.metric_table import METRICS_SCHEMA
from tasks.tokenizer.token_kinds import vocabulary_metrics

TEXT = "<b>&ab ab</b>"


def byte_level(folder: Path, *merges: tuple[str, str]) -> tuple[Vocabulary, Tokenizer]:
    vocab = {c: i for i, c in enumerate(BYTE_CHARACTERS)}
    for left, right in merges:
        vocab.setdefault(left + right, len(vocab))
    tokenizer = Tokenizer(models.BPE(vocab, list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return read_vocabulary(folder), tokenizer


@pytest.fixture(scope="module")
def section(tmp_path_factory: pytest.TempPathFactory) -> TokenizerSection:
    """A source of bytes alone, and a new vocabulary of the merges ab, space+ab, <b and a<."""
    place = tmp_path_factory.mktemp("tokenizers")
    source = byte_level(place / "old")
    target = byte_level(place / "new", ("a", "b"), ("Ġ", "ab"), ("<", "b"), ("a", "<"))
    sides = {"source": source, "new": target}
    counted = {name: count_tokens_of(t, v, [TEXT]) for name, (v, t) in sides.items()}
    reachable = np.ones(260, dtype=np.bool_)
    reachable[[0xFF, 259]] = False
    metrics = [
        intrinsic_metrics("heldout", [TEXT], counted, rare_below=2),
        vocabulary_metrics({"source": (source[0], None), "new": (target[0], reachable)}),
    ]
    tokens = pa.table(
        {
            "formation": ["byte"] * 256 + ["merge"] * 4,
            "reachable": reachable,
            "count": counted["new"].counts,
            # ab is made most often and left least; <b comes next; a< is never made.
            "made": pa.array([9] * 256 + [8, 1, 4, 0], pa.int64()),
            "final_ratio": pa.array([0.0] * 256 + [0.05, 0.0, 0.5, None], pa.float64()),
        }
    )
    counts = counted["source"].counts
    dropped = pa.table({"id": [60, 98, 99, 100], "count": [0, 12_000, 7, 7]})
    other_sizes = pa.table(
        {"vocabulary_size": [1024], "bytes_per_token": [2.5], "folder": ["sizes/1024"]}
    )
    return make_section(
        pa.concat_tables(metrics), tokens, counts, source, target, TEXT, 3,
        dropped=dropped, other_sizes=other_sizes,
    )  # fmt: skip


def test_metrics_stand_side_by_side(section: TokenizerSection):
    lines = {(line.suite, line.label): line for line in section.lines}
    assert lines["heldout", "bytes per token"].values == ("1.00", f"{13 / 10:.2f}")
    assert lines["heldout", "sequence length (NSL)"].values == ("", f"{10 / 13:.3f}")
    assert lines["vocabulary", "vocabulary size"].values == ("256", "260")
    assert lines["vocabulary", "tokens that no text has"].values == ("", "2")
    assert lines["vocabulary", "tokens that are no valid UTF-8"].values == ("128", "128")
    assert lines["heldout", "Rényi efficiency, H / log |V|"].note == (
        "alpha=2.5, |V|=256 · alpha=2.5, |V|=260"
    )
    assert [line.suite for line in section.lines] == sorted(line.suite for line in section.lines)


def test_lines_follow_the_table_and_unknown_metrics_keep_their_name():
    rows = [
        {"suite": suite, "tokenizer": "new", "metric": metric, "value": 3.0, "unit": "tokens",
         "n": 1, "note": "x"}
        for suite, metric in (("b", "parity"), ("a", "parity"), ("b", "rare_tokens"))
    ]  # fmt: skip
    lines = metric_lines(pa.Table.from_pylist(rows, schema=METRICS_SCHEMA), ("source", "new"))
    assert [(line.suite, line.label, line.values) for line in lines] == [
        ("b", "parity", ("", "3")),
        ("a", "parity", ("", "3")),
        ("b", "rare tokens", ("", "3")),
    ]


@pytest.mark.parametrize(
    ("value", "unit", "written"),
    [
        (0.25, "share", "25.0%"),
        (49152.0, "tokens", "49,152"),
        (1.5, "tokens/word", "1.50"),
        (0.75, "ratio", "0.750"),
        (8.666, "bits", "8.67"),
    ],
)
def test_values_are_written_by_unit(value: float, unit: str, written: str):
    assert format_value(value, unit) == written


def test_residues_are_the_least_left_of_those_made_most(section: TokenizerSection):
    # Of the three merged tokens that are made, the half made most are ab and <b.
    assert section.residues.n_frequent == 2
    assert section.residues.n_low == 1
    assert [(t.shown, t.token_id, t.numbers) for t in section.residues.listed] == [
        ("ab", 256, ("5.0%", "8")),
        ("<b", 258, ("50.0%", "4")),
    ]


def test_lists_of_unreachable_and_longest_tokens(section: TokenizerSection):
    assert section.n_unreachable == 2
    assert [token.shown for token in section.unreachable] == ["\\xFF", "a<"]
    (old_name, old), (new_name, new) = section.longest
    assert (old_name, new_name) == ("Old tokenizer", "New tokenizer")
    assert [token.numbers for token in old] == [("1",)] * 3
    assert [(token.shown, token.numbers) for token in new] == [
        ("·ab", ("3",)), ("ab", ("2",)), ("<b", ("2",)),
    ]  # fmt: skip


def test_dropped_tokens_are_listed_by_use(section: TokenizerSection):
    assert section.n_dropped == 4
    assert [(t.token_id, t.numbers) for t in section.dropped] == [
        (98, ("12,000",)), (99, ("7",)), (100, ("7",)),
    ]  # fmt: skip


def test_one_paragraph_is_cut_by_both(section: TokenizerSection):
    (_, old), (_, new) = section.tokenised
    assert old == list(TEXT.replace(" ", "·"))
    assert new == ["<", "b", ">", "&", "ab", "·ab", "<", "/", "b", ">"]
    assert "".join(old) == "".join(new)


def points(svg: str) -> int:
    """The corners of the longest line drawn."""
    return max(len(re.findall(r"[ML] ", path)) for path in re.findall(r' d="([^"]*)"', svg))


def test_ranks_are_drawn_from_few_points():
    counts = np.arange(50_000, dtype=np.int64)
    svg = rank_frequency_plot(counts, counts[:10])
    assert ">old: 49,999 of 50,000 tokens occur<" in svg
    assert ">new: 9 of 10 tokens occur<" in svg
    assert ">10,000<" in svg
    assert points(svg) <= 300
    assert len(svg) < 60_000


def test_lengths_are_weighted_by_use():
    # Half of the bytes stand in tokens of 1 byte, half in one of 40, which is drawn at the end.
    lengths, counts = np.array([1, 40, 7]), np.array([40, 1, 0])
    alone = lengths_in_text_plot(lengths, counts, lengths, counts)
    assert ">24+<" in alone
    assert ">50<" in alone
    assert ">60<" not in alone


def test_a_text_without_tokens_is_drawn_as_nothing():
    none, some = np.zeros(3, dtype=np.int64), np.array([1, 2, 3])
    assert ">new: 0 of 3 tokens occur<" in rank_frequency_plot(some, none)
    assert ">new: 0 of 3 tokens occur<" in rank_frequency_plot(none, none)
    assert "% of the text" in lengths_in_text_plot(some, none, some, none)


def test_the_partial_escapes_all_but_the_plots(section: TokenizerSection):
    environment = Environment(
        loader=PackageLoader("tasks.evaluation", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    including = environment.from_string('{% include "tokenizer_section.html.j2" %}')
    page = including.render(section=section)
    assert page.count("<svg") == 2
    assert "<b>" not in page
    assert '<span class="c0">&lt;</span>' in page
    assert "Old tokenizer: 13 tokens" in page
    assert "New tokenizer: 10 tokens" in page
    assert "Of the 2 merged tokens that are made most often, 1 are left over in less than 10 %" in (
        page
    )
    assert "2 of the new tokenizer's ids" in page
    assert "4 old tokens, the least used ones" in page
    assert '<td class="n">1,024</td><td class="n">2.50</td><td>sizes/1024</td>' in page
    assert page.count("<h2>") == 1
