"""Packing decides which text a step sees; a wrong index trains on noise without a word."""

import numpy as np
import pytest

from tasks.pretraining.packing import IGNORED, Documents, PackedCorpus
from tasks.pretraining.token_bytes import bytes_of_tokens

SEPARATOR = 0


def corpus_of(
    lengths: list[int], *, sequence_length: int = 4, seed: int = 0, isolate: bool = True
) -> PackedCorpus:
    """Documents whose tokens are 101, 102... for the first, 201... for the second, and so on."""
    ids = [100 * (n + 1) + i + 1 for n, length in enumerate(lengths) for i in range(length)]
    starts = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    documents = Documents(np.array(ids, np.uint32), starts, np.array(ids, np.int64) % 7 + 1)
    return PackedCorpus(
        documents,
        sequence_length=sequence_length,
        separator=SEPARATOR,
        seed=seed,
        isolate_documents=isolate,
    )


def stream_of(lengths: list[int], seed: int, n_epochs: int) -> list[tuple[int, int]]:
    """(token, depth in its document) by the obvious loop."""
    stream: list[tuple[int, int]] = []
    for epoch in range(n_epochs):
        for n in np.random.default_rng([seed, epoch]).permutation(len(lengths)):
            stream.append((SEPARATOR, 0))
            stream.extend((100 * (int(n) + 1) + i + 1, i + 1) for i in range(lengths[n]))
    return stream


def test_two_documents_by_hand():
    corpus = corpus_of([2, 3], seed=1)  # this seed keeps the order
    batch = corpus.batch(0, 1)
    np.testing.assert_array_equal(batch.input_ids, [[0, 101, 102, 0]])
    np.testing.assert_array_equal(batch.targets, [[101, 102, IGNORED, 201]])
    np.testing.assert_array_equal(batch.position_ids, [[0, 1, 2, 0]])
    # 101 % 7 + 1 = 4, 102 % 7 + 1 = 5, 201 % 7 + 1 = 6
    assert corpus.n_bytes(0, 1) == 4 + 5 + 6
    assert corpus.n_targets(0, 1) == 3


def test_documents_are_not_told_apart_when_not_isolated():
    batch = corpus_of([2, 3], isolate=False).batch(0, 1)
    np.testing.assert_array_equal(batch.position_ids, [[0, 1, 2, 3]])


@pytest.mark.parametrize("sequence_length", [1, 3, 4, 9])
def test_agrees_with_the_obvious_loop_over_three_epochs(sequence_length: int):
    lengths = [5, 0, 1, 12, 3, 7]
    corpus = corpus_of(lengths, sequence_length=sequence_length, seed=3)
    stream = stream_of(lengths, 3, 3)
    n_samples = (len(stream) - 1) // sequence_length
    batch = corpus.batch(0, n_samples)
    targets = n_bytes = 0
    for k in range(n_samples):
        part = stream[k * sequence_length : (k + 1) * sequence_length + 1]
        np.testing.assert_array_equal(batch.input_ids[k], [t for t, _ in part[:-1]])
        scored = [token if depth else IGNORED for token, depth in part[1:]]
        np.testing.assert_array_equal(batch.targets[k], scored)
        positions = [min(i, depth) for i, (_, depth) in enumerate(part[:-1])]
        np.testing.assert_array_equal(batch.position_ids[k], positions)
        targets += sum(depth > 0 for _, depth in part[1:])
        n_bytes += sum(token % 7 + 1 for token, depth in part[1:] if depth)
        assert corpus.n_targets(0, k + 1) == targets
        assert corpus.n_bytes(0, k + 1) == n_bytes


def test_a_sample_does_not_depend_on_the_batch_it_comes_in():
    corpus = corpus_of([5, 4, 1, 12, 3, 7], seed=5)
    together = corpus.batch(0, 8)
    for k in range(8):
        np.testing.assert_array_equal(together.input_ids[k], corpus.batch(k, 1).input_ids[0])


def test_every_token_of_a_document_is_a_target_once_an_epoch():
    corpus = corpus_of([5, 4, 1, 12, 3, 7], sequence_length=38, seed=2)  # 32 tokens, 6 separators
    targets = corpus.batch(0, 1).targets[0]
    assert corpus.tokens_per_epoch == 38
    assert len(set(targets[targets != IGNORED].tolist())) == 32


def test_the_order_of_documents_is_that_of_another_tokenizer():
    def documents_in_order(lengths: list[int]) -> list[int]:
        corpus = corpus_of(lengths, sequence_length=1, seed=9)
        tokens = corpus.batch(0, corpus.tokens_per_epoch).input_ids[:, 0]
        first = [int(t) for t in tokens if t % 100 == 1]
        return [t // 100 for t in first]

    assert documents_in_order([3, 1, 2, 5]) == documents_in_order([30, 11, 22, 50])


def test_epochs_are_shuffled_differently():
    corpus = corpus_of([1] * 50, sequence_length=100, seed=0)
    first, second = corpus.batch(0, 2).input_ids
    assert sorted(first) == sorted(second)
    assert not np.array_equal(first, second)


def test_byte_level_lengths_stand_unchanged():
    ids = np.array([2, 0, 1, 1], np.uint32)
    found = bytes_of_tokens(
        ids, np.array([0, 2, 4]), np.array([3, 1, 4]), np.array([7, 2], np.int64)
    )
    np.testing.assert_array_equal(found, [4, 3, 1, 1])


def test_stretched_lengths_sum_to_the_document():
    ids = np.array([2, 0, 1, 1, 3, 3, 3], np.uint32)  # the last document is all unknown tokens
    starts = np.array([0, 2, 4, 4, 7])
    n_bytes = np.array([9, 1, 0, 5], np.int64)
    found = bytes_of_tokens(ids, starts, np.array([3, 1, 4, 0]), n_bytes)
    np.testing.assert_array_equal(found, [5, 4, 0, 1, 1, 2, 2])
