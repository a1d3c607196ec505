"""Superwords: the second stage by hand, beside plain BPE, and through the tokenizers library."""

import json
import random
import re
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tokenizers import Tokenizer

from tasks.shared.byte_alphabet import to_alphabet
from tasks.shared.vocabulary_file import Json
from tasks.tokenizer.bpe import learn_vocabulary
from tasks.tokenizer.byte_level_file import byte_level_tokenizer
from tasks.tokenizer.cut_words import BYTES_IN_ORDER, pretoken_bytes, words_of_bytes
from tasks.tokenizer.cutters import library_cutter
from tasks.tokenizer.errors import CorpusTooSmallError
from tasks.tokenizer.merge_loop import Learnt, Limits
from tasks.tokenizer.patterns import stretch_pattern
from tasks.tokenizer.pretoken_counts import PretokenCounts
from tasks.tokenizer.pretokenizer import choose_pretokenizer
from tasks.tokenizer.pretokens import PretokenCounter
from tasks.tokenizer.recut import recut
from tasks.tokenizer.residue import WordsError, final_and_made
from tasks.tokenizer.superword import (
    TransitionError,
    learn_superwords,
    within_stretches,
)

WORDS = choose_pretokenizer({}, "gpt2", "groups_of_3")
STRETCHES = choose_pretokenizer({}, "custom", "source", stretch_pattern("groups_of_3"))


def counts_of(texts: list[str], pre_tokenizer: Json, longest: int = 5000) -> PretokenCounts:
    counter = PretokenCounter(None, pre_tokenizer, longest)
    counter.add(pa.array(texts, pa.string()))
    return counter.result()


def words_of(texts: list[str]) -> PretokenCounts:
    return within_stretches(counts_of(texts, WORDS), library_cutter(None, STRETCHES))


def superwords(texts: list[str], transition: int, size: int, **options: Any) -> Learnt:
    limits = Limits(size, max_token_bytes=40)
    stretches = counts_of(texts, STRETCHES)
    return learn_superwords(words_of(texts), stretches, transition, limits, 0, **options)


def library_tokenizer(learnt: Learnt, pre_tokenizer: Json) -> Tokenizer:
    return Tokenizer.from_str(json.dumps(byte_level_tokenizer(learnt, pre_tokenizer, None, [])))


@pytest.fixture(scope="module")
def python_texts() -> list[str]:
    folder = Path(sysconfig.get_path("stdlib"))
    names = ("argparse", "codecs", "dataclasses")
    return [(folder / f"{name}.py").read_text(encoding="utf-8") for name in names]


@pytest.fixture(scope="module")
def learnt(python_texts: list[str]) -> Learnt:
    return superwords(python_texts, 1200, 1800)


def test_words_join_after_the_transition_by_hand():
    # Inside words (b, c) and (space, b) tie at 6 and b is older; then (space, bc) stands 6 times.
    # Across words "a" and " bc" stand side by side 5 times.
    learnt = superwords(["a bc a bc a bc a bc a bc", "x bc"], 258, 259)
    made = [learnt.token_bytes[result] for _, _, result in learnt.merges]
    assert made == [b"bc", b" bc", b"a bc"]
    left = dict(zip(learnt.token_bytes, learnt.counts.tolist(), strict=True))
    assert (left[b"bc"], left[b" bc"], left[b"a bc"], left[b"a"]) == (0, 1, 5, 0)
    by_merge = dict(zip(learnt.token_bytes, learnt.made.tolist(), strict=True))
    assert (by_merge[b"bc"], by_merge[b" bc"], by_merge[b"a bc"]) == (6, 6, 5)
    assert learnt.events[:, 2].tolist() == [0, 1, 2]


def test_a_transition_at_the_end_is_plain_bpe(python_texts: list[str]):
    limits = Limits(900, max_token_bytes=40)
    plain = learn_vocabulary(words_of(python_texts), limits, 0, scaffold=False)
    late = superwords(python_texts, 900, 900)
    np.testing.assert_array_equal(late.merges, plain.merges)
    assert late.token_bytes == plain.token_bytes


def test_the_first_stage_is_the_begin_of_plain_bpe(learnt: Learnt, python_texts: list[str]):
    limits = Limits(1200, max_token_bytes=40)
    plain = learn_vocabulary(words_of(python_texts), limits, 0, scaffold=False)
    np.testing.assert_array_equal(learnt.merges[: len(plain.merges)], plain.merges)


def test_the_library_reaches_every_token_behind_the_new_pre_tokenizer(learnt: Learnt):
    tokenizer = library_tokenizer(learnt, STRETCHES)
    whole = [
        data.decode()
        for data in learnt.token_bytes
        if data.decode(errors="ignore").encode() == data
    ]
    # A space at the end of a text is a run of spaces; before a digit it is part of a stretch.
    behind = [text + "7" if text[-1] == " " and text.strip() else text for text in whole]
    first = [tokenizer.encode(text).tokens[0] for text in behind]
    assert first == [to_alphabet(text.encode()) for text in whole]
    assert sum(len(text.split()) > 1 for text in whole) > 100


def test_counts_are_those_of_the_text_as_the_library_cuts_it(
    learnt: Learnt, python_texts: list[str]
):
    tokenizer = library_tokenizer(learnt, STRETCHES)
    ids = np.concatenate([tokenizer.encode(text).ids for text in python_texts])
    np.testing.assert_array_equal(np.bincount(ids, minlength=1800), learnt.counts)


def test_text_takes_fewer_tokens_than_with_words_alone(learnt: Learnt, python_texts: list[str]):
    limits = Limits(1800, max_token_bytes=40)
    plain = learn_vocabulary(words_of(python_texts), limits, 0, scaffold=False)
    unseen = (Path(sysconfig.get_path("stdlib")) / "optparse.py").read_text(encoding="utf-8")
    n_new = len(library_tokenizer(learnt, STRETCHES).encode(unseen).ids)
    n_plain = len(library_tokenizer(plain, WORDS).encode(unseen).ids)
    assert n_new < 0.95 * n_plain


def test_words_and_colons_are_capped_in_the_second_stage_alone(python_texts: list[str]):
    texts = ["if it is so it is so it is so it is so: yes"] * 20 + python_texts[:1]
    learnt = superwords(texts, 400, 900, max_words=2)
    late = [learnt.token_bytes[result] for _, _, result in learnt.merges[400 - 256 :]]
    assert max(len(data.split()) for data in late) == 2
    assert not any(b":" in data for data in late)
    free = superwords(texts, 400, 900, max_words=9, never_across=b"")
    assert max(len(data.split()) for data in free.token_bytes) > 4
    assert any(b":" in data and len(data.split()) > 1 for data in free.token_bytes)


def test_what_a_person_blocks_stays_blocked_beside_the_caps(python_texts: list[str]):
    limits = Limits(800, blocked=re.compile(b"(?i)SELF"))
    stretches = counts_of(python_texts, STRETCHES)
    learnt = learn_superwords(words_of(python_texts), stretches, 500, limits, 0, max_words=1)
    assert not any(b"self" in data for data in learnt.token_bytes)
    assert max(len(data.split()) for data in learnt.token_bytes) == 1


def test_words_are_cut_where_stretches_end():
    counts = words_of(["a\n    b"])
    assert set(pretoken_bytes(counts)) == {b"a", b"\n", b"   ", b" b"}


def test_a_transition_outside_of_the_vocabulary_is_named():
    with pytest.raises(TransitionError, match=r"transition=300 must lie from 256, .* to .*=280"):
        superwords(["a b"], 300, 280)
    with pytest.raises(TransitionError, match="transition=255"):
        superwords(["a b"], 255, 280)


def test_too_little_text_names_the_stage():
    with pytest.raises(CorpusTooSmallError, match="transition=300"):
        superwords(["a bc a bc"], 300, 400)
    with pytest.raises(CorpusTooSmallError, match="vocabulary_size=400"):
        superwords(["a bc a bc"], 258, 400)


def test_recut_words_agree_with_the_quadratic_cut():
    draw = random.Random(0)
    texts = [" ".join("".join(draw.choices("abc", k=5)) for _ in range(30)) for _ in range(40)]
    learnt = learn_vocabulary(counts_of(texts, WORDS), Limits(330), 0, scaffold=False)
    words = words_of_bytes(counts_of(texts, STRETCHES))
    new = recut(words, learnt.merges, 330)
    final, made = final_and_made(words.symbols, words.starts, words.counts, learnt.merges, 330)
    np.testing.assert_array_equal(new.counts, final)
    np.testing.assert_array_equal(new.made[256:], made[256:])
    spelled = b"".join(learnt.token_bytes[i] for i in new.words.symbols)
    assert spelled == b"".join(BYTES_IN_ORDER[i] for i in words.symbols)


def test_ids_beside_the_vocabulary_are_refused():
    words = words_of_bytes(counts_of(["abc"], WORDS))
    with pytest.raises(WordsError, match="from 0 to 9"):
        recut(words, np.zeros((0, 3), np.int32), 10)
