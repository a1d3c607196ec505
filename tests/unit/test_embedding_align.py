"""Rows from the old tokens that stand in a new token's place."""

from collections import Counter

import numpy as np
import pytest

from tasks.embedding.align import align_weights
from tasks.embedding.pieces import Pieces
from tasks.embedding.row_weights import RowWeights
from tasks.embedding.two_cuts import DifferentTextError, Spelling

OLD = [b"a", b"b", b"c", b"ab", b"bc", b" "]
NEW = [b"a", b"b", b"c", b"abc", b"bcab", b" "]
OLD_SPELLING, NEW_SPELLING = Spelling.of(OLD), Spelling.of(NEW)


def dense(weights: RowWeights) -> np.ndarray:
    return weights.rows(np.eye(len(OLD), dtype=np.float32))


def align(documents: list[tuple[list[int], list[int]]], **options) -> RowWeights:
    arrays = [(np.array(old), np.array(new)) for old, new in documents]
    return align_weights(arrays, OLD_SPELLING, NEW_SPELLING, np.array([3, 4]), **options)[0]


TEXT = [
    ([3, 2, 5, 3, 2], [3, 5, 3]),  # ab|c twice under abc
    ([0, 4], [3]),  # a|bc under abc
]


def test_shares_by_hand():
    # "abc" is ab|c twice and a|bc once: half of each tuple, by 2/3 and 1/3.
    made = dense(align(TEXT))
    np.testing.assert_allclose(made[0], [1 / 6, 0, 1 / 3, 1 / 3, 1 / 6, 0], atol=1e-7)
    assert not made[1].any(), "never occurs"


def test_old_tokens_that_reach_over_the_edge_count():
    # abbcabc: the new token bbca lies over ab (in part), bc, a.
    old, new = [3, 4, 0, 4], [0, 4, 1, 2]
    spelling = Spelling.of([b"a", b"b", b"c", b"abc", b"bbca"])
    weights, n_passed_over = align_weights(
        [(np.array(old), np.array(new))], OLD_SPELLING, spelling, np.array([3, 4])
    )
    np.testing.assert_allclose(dense(weights)[1], [1 / 3, 0, 0, 1 / 3, 1 / 3, 0], atol=1e-7)
    assert n_passed_over == 0


def test_pieces_count_as_often_as_the_most_frequent_tuple():
    # Tuples of "abc": (ab, c) twice, (a, bc) once; its pieces (a, b, c) count twice more.
    pieces = Pieces.from_lists([[0, 1, 2], [4, 3]])
    made = dense(align(TEXT, pieces=pieces))
    ab_c, a_bc, alone = np.eye(6)[[3, 2]].mean(0), np.eye(6)[[0, 4]].mean(0), np.eye(6)[:3].mean(0)
    np.testing.assert_allclose(made[0], (2 * ab_c + a_bc + 2 * alone) / 5, atol=1e-7)
    assert not made[1].any(), "pieces alone are no occurrence"


def random_text(n_documents: int) -> list[tuple[list[int], list[int]]]:
    """Random pieces of both vocabularies over the same bytes."""
    rng = np.random.default_rng(0)
    documents = []
    for _ in range(n_documents):
        text = b"".join(NEW[i] for i in rng.integers(len(NEW), size=30))
        documents.append((cut(text, OLD, rng), cut(text, NEW, rng)))
    return documents


def cut(text: bytes, vocabulary: list[bytes], rng: np.random.Generator) -> list[int]:
    ids, at = [], 0
    while at < len(text):
        fitting = [i for i, token in enumerate(vocabulary) if text.startswith(token, at)]
        ids.append(int(rng.choice(fitting)))
        at += len(vocabulary[ids[-1]])
    return ids


def by_tuples(documents: list[tuple[list[int], list[int]]], token: int, pieces: list[int] | None):
    """Write the paper's sum over distinct tuples out in loops."""
    tuples = Counter()
    for old, new in documents:
        starts_old = np.cumsum([0, *(len(OLD[i]) for i in old)])
        starts_new = np.cumsum([0, *(len(NEW[i]) for i in new)])
        for at, new_id in enumerate(new):
            if new_id == token:
                tuples[
                    tuple(
                        old_id
                        for i, old_id in enumerate(old)
                        if starts_old[i] < starts_new[at + 1] and starts_old[i + 1] > starts_new[at]
                    )
                ] += 1
    if pieces is not None:
        tuples[tuple(pieces)] += max(tuples.values())
    rows = [count * np.eye(len(OLD))[list(ids)].mean(axis=0) for ids, count in tuples.items()]
    return np.sum(rows, axis=0) / tuples.total()


@pytest.mark.parametrize("pieces", [None, [[0, 1, 2], [4, 3]]])
def test_agrees_with_a_sum_over_tuples(pieces: list[list[int]] | None):
    documents = random_text(40)
    options = {} if pieces is None else {"pieces": Pieces.from_lists(pieces)}
    made = align(documents, **options)
    for slot, token in enumerate([3, 4]):
        expected = by_tuples(documents, token, None if pieces is None else pieces[slot])
        np.testing.assert_allclose(dense(made)[slot], expected, atol=1e-6)
    in_parts = align(documents, **options, held_entries=0)
    np.testing.assert_array_equal(made.ids, in_parts.ids)
    np.testing.assert_allclose(made.weights, in_parts.weights, atol=1e-7)
    np.testing.assert_allclose(np.add.reduceat(made.weights, made.offsets[:-1]), 1, atol=1e-6)


def test_different_text_is_passed_over_and_counted():
    documents = [(np.array(old), np.array(new)) for old, new in [*TEXT, ([3, 3, 3], [0])]]
    weights, n_passed_over = align_weights(documents, OLD_SPELLING, NEW_SPELLING, np.array([3, 4]))
    np.testing.assert_array_equal(dense(weights), dense(align(TEXT)))
    assert n_passed_over == 1


def test_different_text_everywhere_is_refused():
    with pytest.raises(DifferentTextError, match="none of 1 documents"):
        align([([3, 3, 3], [0])])
