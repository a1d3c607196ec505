"""Several sizes from one run: each is what a run of its own makes, and long words cost the same."""

import random

import numpy as np
import pyarrow as pa
import pytest

from tasks.shared.model_shape import ModelShape
from tasks.shared.vocabulary_record import Vocabulary
from tasks.tokenizer import merge_kernels as kernels
from tasks.tokenizer.cut_words import BYTES_IN_ORDER, words_of_bytes
from tasks.tokenizer.errors import CorpusTooSmallError, VocabularyTooSmallError
from tasks.tokenizer.learnt_sizes import at_size, learn_sizes
from tasks.tokenizer.merge_loop import Learnt, Limits, learn_merges
from tasks.tokenizer.pretoken_counts import PretokenCounts
from tasks.tokenizer.pretokenizer import BYTE_LEVEL
from tasks.tokenizer.pretokens import PretokenCounter
from tasks.tokenizer.residue import ids_of_bytes, prefix_token_counts
from tasks.tokenizer.size_sweep import Sweep, sweep_sizes
from tasks.tokenizer.word_rule import WordRule

WORDS = {**BYTE_LEVEL, "use_regex": True}
N_LARGEST = 400


@pytest.fixture(scope="module")
def counts() -> PretokenCounts:
    """Words of stems over few letters, so that scaffolds come and go."""
    draw = random.Random(5)
    stems = ["".join(draw.choices("abcd", k=draw.randint(3, 9))) for _ in range(60)]
    weights = [1 / rank for rank in range(1, 61)]
    text = " ".join(
        "".join(draw.choices(stems, weights, k=draw.randint(1, 2))) for _ in range(4000)
    )
    counter = PretokenCounter(None, WORDS, 256)
    counter.add(pa.array([text]))
    return counter.result()


def assert_equal(one: Learnt, other: Learnt) -> None:
    assert one.token_bytes == other.token_bytes
    for name in ("merges", "counts", "made", "is_scaffold", "events"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@pytest.mark.parametrize("scaffold", [False, True])
def test_every_size_of_a_run_is_what_a_run_of_its_own_learns(
    counts: PretokenCounts, scaffold: bool
):
    words = words_of_bytes(counts)

    def learn(size: int) -> Learnt:
        return learn_merges(words, BYTES_IN_ORDER, Limits(size), scaffold=scaffold)

    whole = learn(N_LARGEST)
    come_and_go = {kernels.BECAME_SCAFFOLD, kernels.RESTORED}
    assert (come_and_go <= set(whole.events[:, 0].tolist())) == scaffold
    for size in [256, 257, *range(260, N_LARGEST, 7), N_LARGEST]:
        assert_equal(at_size(whole, words, size), learn(size))


def test_the_main_size_comes_first_and_wrong_ones_are_named(counts: PretokenCounts):
    made = learn_sizes(counts, Limits(300), [400, 280], 3, scaffold=True)
    assert list(made) == [300, 400, 280]
    assert [learnt.n_visible() + 3 for learnt in made.values()] == [300, 400, 280]
    with pytest.raises(VocabularyTooSmallError, match="other_sizes=258 is below 259"):
        learn_sizes(counts, Limits(300), [258], 3, scaffold=False)
    with pytest.raises(CorpusTooSmallError, match="but other_sizes=900000;"):
        learn_sizes(counts, Limits(300), [900_000], 3, scaffold=False)


def test_long_words_are_counted_under_every_size_as_short_ones_are(counts: PretokenCounts):
    words = words_of_bytes(counts)
    learnt = learn_merges(words, BYTES_IN_ORDER, Limits(N_LARGEST))
    texts = [data.decode("latin-1") for data in learnt.token_bytes]
    vocabulary = Vocabulary(
        token_bytes=tuple(learnt.token_bytes),
        token_text=tuple(texts),
        special_ids={},
        roles={},
        merges=tuple(map(tuple, learnt.merges.tolist())),
    )
    draw = random.Random(6)
    documents = ["".join(draw.choices("abcd ", k=n)) for n in (600, 900, 3)]
    rule = WordRule(None, BYTE_LEVEL, is_source=False)
    shape = ModelShape(4, 2, 8, 2, 1, 2, tied=True)
    table = sweep_sizes(Sweep(vocabulary, 0, 256), rule, documents, 1000, shape).table
    data = [document.encode() for document in documents]
    ids = ids_of_bytes(vocabulary)[np.frombuffer(b"".join(data), np.uint8)]
    starts = np.cumsum([0, *map(len, data)])
    sizes = table["vocabulary_size"].to_pylist()
    prefixes = np.array([len(at_size(learnt, words, size).merges) for size in sizes])
    by_length = prefix_token_counts(ids, starts, np.ones(3, np.int64), learnt.merges, prefixes)
    assert table["n_tokens"].to_pylist() == by_length.tolist()
    assert (sizes[0], sizes[-1]) == (256, N_LARGEST)
