"""Random chunks: nothing lost but long runs, lengths as asked, the same for the same numbers."""

import numpy as np
import pyarrow as pa

from tasks.tokenizer.random_chunks import LENGTH_SHARES, cut_chunks

TEXTS = ["Die Größe des Puffers € 4096 Byte. " * 40, "", "kurz", "中文 und 😀 " * 30]


def chunks(texts: list[str], first: int = 0, seed: int = 3, passes: int = 1) -> list[str]:
    cut = cut_chunks(pa.array(texts, pa.string()), first, seed, passes)
    return [chunk.decode() for chunk in cut.to_pylist()]


def test_chunks_of_one_length_by_hand():
    cut = cut_chunks(pa.array(["abcdefgh", "äö"]), 0, 0, 1, {(3, 3): 1.0})
    assert cut.to_pylist() == [b"abc", b"def", b"gh", "äö".encode()]


def test_a_long_run_is_left_out_and_parts_what_is_around_it_by_hand():
    cut = cut_chunks(pa.array(["ab-------cd------e"]), 0, 0, 1, {(99, 99): 1.0})
    assert cut.to_pylist() == [b"ab", b"cd------e"]


def test_a_run_over_a_border_counts_on_each_side_alone():
    cut = cut_chunks(pa.array(["-" * 13 + "=" * 7]), 0, 0, 1, {(10, 10): 1.0})
    # Ten dashes go; three dashes stay, and the seven signs behind them go.
    assert cut.to_pylist() == [b"---"]


def test_nothing_is_lost_and_every_length_is_one_that_was_asked_for():
    cut = chunks(TEXTS, passes=2)
    assert "".join(cut) == "".join(TEXTS) * 2
    long = [len(chunk) for chunk in chunks(TEXTS[:1] * 50)]
    assert max(long) <= 23
    share = np.mean([12 <= length <= 13 for length in long])
    assert abs(share - 0.185 / sum(LENGTH_SHARES.values())) < 0.03


def test_a_document_is_cut_by_its_number_wherever_it_stands():
    whole = chunks(TEXTS, first=7)
    assert whole == [c for i, text in enumerate(TEXTS) for c in chunks([text], first=7 + i)]
    assert whole == chunks(TEXTS, first=7)
    assert whole != chunks(TEXTS, first=8)
    assert whole != chunks(TEXTS, first=7, seed=4)
    twice = chunks(TEXTS, first=7, passes=2)
    assert twice[: len(whole)] == whole
    assert twice[len(whole) :] != whole


def test_slices_and_no_text_at_all():
    texts = pa.array(TEXTS, pa.large_string())
    assert cut_chunks(texts.slice(2), 2, 3, 1).to_pylist() == [
        c.encode() for c in chunks(TEXTS[2:], 2)
    ]
    assert cut_chunks(texts.slice(0, 0), 0, 0, 2).to_pylist() == []
    assert chunks([""]) == []
