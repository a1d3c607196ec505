import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from tasks.evaluation.compare import Arm, NotComparableError, compare
from tasks.evaluation.intervals import (
    Resampling,
    bits_per_byte_difference,
    bits_per_byte_of,
    ratio,
)
from tasks.evaluation.measure import (
    NotFiniteError,
    NothingHeldOutError,
    documents_table,
    metrics_table,
)
from tasks.evaluation.pieces import Document, Piece, choose_pieces, openings
from tasks.evaluation.summary import report_markdown, summary_table
from tasks.evaluation.wording import caveats, sentences, speed_sentences
from tasks.shared.text_pieces import cut_pieces

DRAWS = Resampling(n_resamples=200, confidence=0.95, seed=1)
RNG = np.random.default_rng(0)


def documents(n: int, suite: str = "heldout", words: int = 30) -> list[Document]:
    return [
        Document(f"{suite}{i}", ("a", "b")[i % 2], suite, f"Text {i} ä " * words) for i in range(n)
    ]


def arm(
    name: str,
    bits: float,
    n_tokens: int = 10,
    n: int = 24,
    noise: float = 0.2,
    general_bits: float | None = None,
) -> Arm:
    texts = documents(n) + ([] if general_bits is None else documents(n, "general"))
    pieces = choose_pieces(texts, 64, 10**9)
    n_bytes = np.array([piece.n_bytes for piece in pieces])
    hardness = np.random.default_rng(5).normal(0, noise, len(pieces))
    mine = [general_bits if piece.document.suite == "general" else bits for piece in pieces]
    nats = n_bytes * (np.array(mine, float) + hardness) * math.log(2)
    table = documents_table(pieces, nats, [n_tokens] * len(pieces), np.ones(len(pieces), bool))
    empty = pa.table({})
    return Arm(name, metrics_table(table, DRAWS), table, empty, empty)


def test_a_ratio_by_hand_and_no_interval_from_one_document():
    one = bits_per_byte_of(np.array([8 * math.log(2)]), np.array([4]), DRAWS)
    assert (one.value, one.low, one.high, one.n) == (2.0, None, None, 1)
    assert ratio(np.array([1.0, 3.0]), np.array([1, 1]), DRAWS).value == 2.0


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    truth, covered, n_trials = 1.5, 0, 200
    for trial in range(n_trials):
        rng = np.random.default_rng(trial)
        n_bytes = rng.integers(100, 2000, 60)
        nats = n_bytes * rng.normal(truth, 0.3, 60) * math.log(2)
        found = bits_per_byte_of(nats, n_bytes, replace(DRAWS, seed=trial))
        covered += found.low is not None and found.low <= truth <= (found.high or 0)
    assert 0.88 <= covered / n_trials <= 0.99


def test_pairing_cancels_how_hard_documents_are():
    n_bytes = RNG.integers(100, 2000, 60)
    base = n_bytes * RNG.normal(1.5, 0.5, 60)
    better = base - 0.01 * n_bytes
    alone = bits_per_byte_of(better, n_bytes, DRAWS)
    paired = bits_per_byte_difference(better, base, n_bytes, DRAWS)
    assert paired.value == pytest.approx(-0.01 / math.log(2))
    assert paired.high is not None
    assert paired.high < 0
    assert alone.low is not None
    assert alone.high is not None
    assert alone.high - alone.low > 0.1
    same = bits_per_byte_difference(base, base, n_bytes, DRAWS)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_pieces_are_taken_breadth_first_and_equal_a_plain_cut():
    texts = documents(5)
    chosen = choose_pieces(reversed(texts), 64, 10**9)
    assert [piece.index for piece in chosen] == sorted(piece.index for piece in chosen)
    for document in texts:
        mine = [piece.text for piece in chosen if piece.document is document]
        assert mine == cut_pieces(document.text, 64)
    few = choose_pieces(texts, 64, 200)
    assert few == chosen[: len(few)]
    assert 200 <= sum(piece.n_bytes for piece in few) < 264


def test_prompts_end_at_a_word():
    pieces = [Piece(d, 0, d.text) for d in documents(4)]
    assert openings(pieces, 2, 12) == ("Text 0 ä", "Text 1 ä")


def test_prompts_come_from_the_corpus_before_other_suites():
    texts = [*documents(2, "general"), *documents(1)]
    pieces = choose_pieces(texts, 64, 10**9)
    assert pieces[0].document.suite == "general"
    first = openings(pieces, 2, 12)[0]
    assert first == openings([p for p in pieces if p.document.suite == "heldout"], 1, 12)[0]
    assert len(openings(pieces, 3, 12)) == 3


def test_metrics_pool_suites_and_their_sources():
    table = arm("source", 2.0, noise=0.0).metrics.to_pylist()
    assert {row["subset"] for row in table} == {"all", "a", "b"}
    bits = [row for row in table if row["metric"] == "bits_per_byte"]
    assert [row["value"] for row in bits] == pytest.approx([2.0] * 3)


def test_a_text_that_does_not_return_is_counted_and_not_scored():
    pieces = choose_pieces(documents(3), 64, 100)
    ok = np.array([True, *[False] * (len(pieces) - 1)])
    table = documents_table(pieces, np.full(len(pieces), 10.0), [5] * len(pieces), ok)
    rows = {r["metric"]: r["value"] for r in metrics_table(table, DRAWS).to_pylist()
            if r["subset"] == "all"}  # fmt: skip
    assert rows["n_round_trip_failures"] == len(pieces) - 1
    assert rows["n_bytes"] == pieces[0].n_bytes


def test_nothing_held_out_and_nan_are_refused():
    with pytest.raises(NothingHeldOutError, match="no held-out text"):
        documents_table([], np.zeros(0), [], np.zeros(0, bool))
    pieces = choose_pieces(documents(2), 64, 60)
    with pytest.raises(NotFiniteError, match="lower learning rate"):
        documents_table(pieces, np.full(len(pieces), np.nan), [1] * len(pieces),
                        np.ones(len(pieces), bool))  # fmt: skip


def test_a_loss_is_called_worse_and_a_gain_better():
    arms = [arm("source", 2.0, 20), arm("initial", 2.5), arm("adapted", 1.8), arm("control", 1.7)]
    metrics = compare(arms, DRAWS)
    said = " ".join(sentences(metrics))
    assert "1.765 bits per byte and the source model 1.965" in said
    assert "the adapted model is better by 0.200" in said
    assert "tokenizer: the adapted model is worse by 0.100" in said
    assert "50.0% fewer tokens" in said
    header, *rows = summary_table(metrics)
    assert header == ["suite", "measure", "source", "initial", "adapted", "control"]
    assert {len(row) for row in rows} == {6}
    assert ["heldout", "tokens saved", "", "50.0%", "50.0%", ""] in rows
    assert report_markdown(metrics).count("\n| heldout |") == len(rows)


def test_a_gain_here_and_a_loss_there_are_said_in_one_sentence():
    arms = [arm("source", 2.0, general_bits=2.0), arm("adapted", 1.8, general_bits=2.3)]
    assert sentences(compare(arms, DRAWS))[0] == (
        "Compared with the source model, the adapted model is better on held-out text of the "
        "corpus and worse on “general” text."
    )


@pytest.mark.parametrize("n", [1, 9, 10])
def test_few_documents_are_counted_and_their_intervals_called_narrow(n: int):
    arms = [arm("source", 2.0, n=n), arm("adapted", 1.8, n=n)]
    metrics = compare(arms, DRAWS)
    counted = [r for r in metrics.to_pylist() if r["metric"] == "n_documents"]
    assert {row["value"] for row in counted if row["subset"] == "all"} == {n}
    said = caveats(metrics)
    assert len(said) == (n < 10)
    if said:
        noun = "document" if n == 1 else "documents"
        n_pieces = arms[0].documents.num_rows
        assert f"is {n} {noun} only: its intervals resample {n_pieces} pieces" in said[0]
        assert said[0] in report_markdown(metrics)


def test_speed_is_told_in_text_and_in_steps():
    speeds = {
        "source": {"characters/s": 50.0, "tokens/s": 20.0},
        "adapted": {"characters/s": 100.0, "tokens/s": 22.0},
    }
    (said,) = speed_sentences(speeds, 3)
    assert "50 characters a second in 20.0 steps, the adapted model 100 in 22.0" in said
    assert "2.00 times the text at 1.10 times the steps" in said
    assert speed_sentences({"source": speeds["source"]}, 3) == []


def test_models_measured_on_other_texts_are_not_compared():
    with pytest.raises(NotComparableError, match="different texts"):
        compare([arm("source", 2.0), arm("initial", 2.0, n=20)], DRAWS)
