"""One text cut by two tokenizers."""

import numpy as np
import pytest

from tasks.embedding.paired_batches import draw_batches
from tasks.embedding.two_cuts import (
    DifferentTextError,
    PairedWindow,
    Spelling,
    cut_paired_windows,
    shared_ends,
)

XS = Spelling.of([b"x" * i for i in range(100)])
"""Ids are lengths."""


def lengths(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def test_shared_ends_by_hand():
    # ab|c|de|f against abc|d|ef: both end after "abc" and after all.
    found = shared_ends(lengths(2, 1, 2, 1), lengths(3, 1, 2))
    assert found is not None
    assert [part.tolist() for part in found] == [[2, 4], [1, 3]]


def test_added_space_shifts_nothing():
    # " ab"|c against ab|c: the old tokenizer put a space before the text.
    found = shared_ends(lengths(3, 1), lengths(2, 1))
    assert found is not None
    assert [part.tolist() for part in found] == [[1, 2], [1, 2]]


def test_other_text_has_no_ends():
    assert shared_ends(lengths(3, 1), lengths(2)) is None


def random_documents(n: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Ids are lengths: the same number of bytes cut twice at random."""
    rng = np.random.default_rng(0)
    documents = []
    for _ in range(n):
        size = int(rng.integers(0, 80))
        cuts = [np.flatnonzero(rng.random(size) < p) + 1 for p in (0.7, 0.4)]
        both = [np.diff(np.unique([0, *c.tolist(), size])) for c in cuts]
        documents.append((both[0].astype(np.uint32), both[1].astype(np.uint32)))
    return documents


def test_ends_agree_with_sets_of_bytes():
    for old, new in random_documents(100):
        found = shared_ends(old.astype(np.int64), new.astype(np.int64))
        ends = [np.cumsum(part).tolist() for part in (old, new)]
        both = sorted({*ends[0]} & {*ends[1]})
        assert found is not None
        assert [part.tolist() for part in found] == [[e.index(b) + 1 for b in both] for e in ends]


@pytest.mark.parametrize("window_tokens", [2, 5, 9, 500])
def test_windows_fit_and_agree(window_tokens: int):
    documents = random_documents(60)
    # Length 0 for the prefix, so that it spells nothing.
    windows, n_passed_over = cut_paired_windows(documents, XS, XS, (0, 0), window_tokens)
    assert n_passed_over == 0
    for window in windows:
        assert max(len(window.old), len(window.new)) <= window_tokens
        old_ends, new_ends = np.cumsum(window.old), np.cumsum(window.new)
        np.testing.assert_array_equal(old_ends[window.old_at], new_ends[window.new_at])
        assert window.old_at[-1] == len(window.old) - 1
        assert window.new_at[-1] == len(window.new) - 1
        assert window.old[0] == window.new[0] == 0
    if window_tokens == 500:
        whole = [np.append(0, old).tolist() for old, _ in documents if len(old)]
        assert [window.old.tolist() for window in windows] == whole


def test_different_text_everywhere_is_refused():
    with pytest.raises(DifferentTextError, match="none of 1 documents with the same bytes"):
        cut_paired_windows([(np.array([3]), np.array([9]))], XS, XS, (0, 0), 8)


def test_one_byte_more_is_one_text_only_where_it_is_a_space_in_front():
    # A letter and its accent, under a tokenizer that composes both to one character.
    old = Spelling.of([b"x", "e\u0301".encode(), b" x", b"y"])
    new = Spelling.of([b"x", "\u00e9".encode(), b"y"])

    def windows(old_ids: list[int], new_ids: list[int]) -> tuple[list[PairedWindow], int]:
        documents = [(np.array([0]), np.array([0])), (np.array(old_ids), np.array(new_ids))]
        found, n_passed_over = cut_paired_windows(documents, old, new, (0, 0), 8)
        return found[1:], n_passed_over

    assert windows([0, 1, 3], [0, 1, 2]) == ([], 1)
    [spaced], n_passed_over = windows([2, 3], [0, 2])
    assert n_passed_over == 0
    assert spaced.old_at.tolist() == spaced.new_at.tolist() == [1, 2]


def test_special_tokens_spell_nothing():
    spelling = Spelling.of([b"ab", None, b"\xc3"])
    assert spelling.lengths.tolist() == [2, 0, 1]
    assert spelling.text(np.array([2, 1, 0])) == b"\xc3ab"


def test_batches_pad_on_the_right_and_visit_all():
    windows = [
        PairedWindow(np.array([9, 1, 2]), np.array([8, 5]), np.array([2]), np.array([1])),
        PairedWindow(np.array([9, 3]), np.array([8, 3]), np.array([1]), np.array([1])),
        PairedWindow(np.array([9, 4]), np.array([8, 4]), np.array([1]), np.array([1])),
    ]
    batches = list(draw_batches(windows, 2, 3, seed=0))
    seen = [int(i) for batch in batches for i in batch.old[batch.window, batch.old_at]]
    assert sorted(seen) == [2, 2, 3, 3, 4, 4]
    whole = next(iter(draw_batches(windows, 3, 1, seed=0)))
    assert whole.old.shape == (3, 3)
    assert sorted(whole.new[whole.is_text].tolist()) == [3, 4, 5, 8, 8, 8]
    assert sorted(whole.old[:, 2].tolist()) == [0, 0, 2]
    again = list(draw_batches(windows, 2, 3, seed=0))
    for one, other in zip(batches, again, strict=True):
        np.testing.assert_array_equal(one.old, other.old)
