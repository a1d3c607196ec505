"""Random chunks: nothing lost but long runs, lengths as asked, the same for the same numbers."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa

from tasks.tokenizer.chunk_counts import ChunkCounter
from tasks.tokenizer.config import RandomChunks
from tasks.tokenizer.random_chunks import cut_chunks

SHARES = RandomChunks().length_shares
TEXTS = ["Die Größe des Puffers € 4096 Byte. " * 40, "", "kurz", "中文 und 😀 " * 30]


def chunks(texts: list[str], first: int = 0, seed: int = 3, passes: int = 1) -> list[str]:
    numbers = np.arange(first, first + len(texts))
    cut = cut_chunks(pa.array(texts, pa.string()), numbers, seed, passes, SHARES)
    return [chunk.decode() for chunk in cut.to_pylist()]


def test_chunks_of_one_length_by_hand():
    cut = cut_chunks(pa.array(["abcdefgh", "äö"]), np.arange(2), 0, 1, [(3, 3, 1.0)])
    assert cut.to_pylist() == [b"abc", b"def", b"gh", "äö".encode()]


def test_a_long_run_is_left_out_and_parts_what_is_around_it_by_hand():
    cut = cut_chunks(pa.array(["ab-------cd------e"]), np.arange(1), 0, 1, [(99, 99, 1.0)])
    assert cut.to_pylist() == [b"ab", b"cd------e"]


def test_a_run_over_a_border_counts_on_each_side_alone():
    cut = cut_chunks(pa.array(["-" * 13 + "=" * 7]), np.arange(1), 0, 1, [(10, 10, 1.0)])
    # Ten dashes go; three dashes stay, and the seven signs behind them go.
    assert cut.to_pylist() == [b"---"]


def test_nothing_is_lost_and_every_length_is_one_that_was_asked_for():
    cut = chunks(TEXTS, passes=2)
    assert "".join(cut) == "".join(TEXTS) * 2
    long = [len(chunk) for chunk in chunks(TEXTS[:1] * 50)]
    assert max(long) <= 23
    share = np.mean([12 <= length <= 13 for length in long])
    assert abs(share - 0.185 / sum(share for _, _, share in SHARES)) < 0.03


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
    cut = cut_chunks(texts.slice(2), np.arange(2, 4), 3, 1, SHARES)
    assert cut.to_pylist() == [c.encode() for c in chunks(TEXTS[2:], 2)]
    assert cut_chunks(texts.slice(0, 0), np.arange(0), 0, 2, SHARES).to_pylist() == []
    assert chunks([""]) == []


def test_the_counter_counts_the_chunks_and_drops_long_ones():
    counter = ChunkCounter(RandomChunks(seed=3, passes=2), max_pretoken_bytes=20)
    counter.add(pa.array(TEXTS[:2]), np.arange(2))
    counter.add(pa.array([*TEXTS[2:], None]), np.arange(2, 5))
    every = [chunk.encode() for chunk in chunks(TEXTS, passes=2)]
    want = Counter(chunk for chunk in every if len(chunk) <= 20)
    counts = counter.result()
    starts = counts.starts.tolist()
    found = [counts.data[a:b].tobytes() for a, b in pairwise(starts)]
    assert dict(zip(found, counts.counts.tolist(), strict=True)) == want
    assert found == sorted(want)
    assert counter.n_dropped == len(every) - want.total() > 0
    assert counter.n_dropped_bytes == sum(len(chunk) for chunk in every if len(chunk) > 20)
