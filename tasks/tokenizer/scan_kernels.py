r"""Where pre-tokens end, read from UTF-8 bytes, compiled.

Each function does what a regex engine does with the pattern of its family: alternatives in their
order, longest first, giving back where one fails. ``data`` must be valid UTF-8; ``stop`` is where
the text ends. ``apart`` says that numbers were cut out before, so that for the regex a text ends at
each of them.

Kernels of other files must not call these: compiled code is cached by file, and would stay as it
was when this file changes.
"""

from typing import no_type_check

import numpy as np
from numba import njit

from tasks.tokenizer.unicode_classes import (
    CASELESS,
    LETTER,
    LINE_END,
    LOWER,
    MARK,
    NUMBER,
    OTHER,
    SPACE,
    UPPER,
)

GPT2, GPT4, LLAMA3, PUNCT, O200K = 0, 1, 2, 3, 4
MANY = np.int64(1) << 62
"""As ``max_digits``: numbers are not cut."""

_UPPER_LIKE = UPPER | CASELESS | MARK
_LOWER_LIKE = LOWER | CASELESS | MARK
_ANY_CASE = CASELESS | MARK


@njit(cache=True, nogil=True)
@no_type_check
def cut_texts(data, offsets, text, i, classes, family, max_digits, apart, starts):
    """Cut texts from byte ``i`` of one on, until ``starts`` is full or the last text ends.

    Args:
        data: uint8, UTF-8.
        offsets: int64, text ``t`` is ``data[offsets[t]:offsets[t + 1]]``.
        text: number of the text to begin in.
        i: where in ``data`` to begin, a start of a pre-token.
        classes: ``class_table``.
        family: whose regex: ``GPT2`` to ``O200K``.
        max_digits: longest piece of a number; ``MANY`` for whole ones.
        apart: whether numbers are cut out first.
        starts: int64, filled with the starts of pre-tokens, and the end of the last one.

    Returns:
        Number of pre-tokens, and ``text`` and ``i`` to go on with.
    """
    n_cut = 0
    starts[0] = i
    while text < len(offsets) - 1:
        stop = offsets[text + 1]
        while i < stop:
            if n_cut == len(starts) - 1:
                return n_cut, text, i
            i = _next_end(data, i, stop, classes, family, max_digits, apart)
            n_cut += 1
            starts[n_cut] = i
        text += 1
    return n_cut, text, i


@njit(cache=True, nogil=True)
@no_type_check
def _next_end(data, i, stop, classes, family, max_digits, apart):
    """End of the pre-token that starts at ``i``."""
    kind, width = _class_at(data, i, classes)
    second = i + width
    if kind & LETTER:
        if family == O200K:
            return _with_contraction(data, _cased_end(data, i, stop, classes)[0], stop)
        return _run_end(data, second, stop, classes, LETTER)
    if kind & NUMBER:
        return _number_end(data, second, stop, classes, max_digits - 1)
    if data[i] == 0x27 and family in (GPT2, GPT4, LLAMA3):
        end = _contraction_end(data, i, stop, family != GPT2)
        if end > i:
            return end
    after, third = 0, second
    if second < stop:
        after, width = _class_at(data, second, classes)
        third += width
    is_blank = data[i] == 0x20
    if family == O200K:
        if (kind | after) & (LETTER | MARK) and not kind & LINE_END:
            end = _led_word_end(data, i, second, stop, classes, kind)
            if end > i:
                return end
    elif after & LETTER and (is_blank or (family in (GPT4, LLAMA3) and not kind & LINE_END)):
        return _run_end(data, third, stop, classes, LETTER)
    if kind & OTHER:
        return _others_end(data, second, stop, classes, family)
    if is_blank and after & OTHER:
        return _others_end(data, third, stop, classes, family)
    if is_blank and after & NUMBER and family == GPT2 and max_digits == MANY and not apart:
        return _run_end(data, third, stop, classes, NUMBER)
    return _space_end(data, i, stop, classes, family, apart)


@njit(cache=True, nogil=True)
@no_type_check
def _class_at(data, i, classes):
    """Class bits and width in bytes of the character at ``i``."""
    first = np.int64(data[np.uintp(i)])
    if first < 0x80:
        return classes[np.uintp(first)], 1
    second = np.int64(data[i + 1]) & 0x3F
    if first < 0xE0:
        return classes[(first & 0x1F) << 6 | second], 2
    third = np.int64(data[i + 2]) & 0x3F
    if first < 0xF0:
        return classes[(first & 0x0F) << 12 | second << 6 | third], 3
    fourth = np.int64(data[i + 3]) & 0x3F
    return classes[(first & 0x07) << 18 | second << 12 | third << 6 | fourth], 4


@njit(cache=True, nogil=True)
@no_type_check
def _run_end(data, i, stop, classes, mask):
    """End of the characters from ``i`` on that have one of the bits of ``mask``.

    The branch for ASCII looks needless, and halves the time: it lets the processor guess the step
    to the next character. So do the unsigned indices, which cannot mean a place from the end.
    """
    while i < stop:
        first = data[np.uintp(i)]
        if first < 0x80:
            if not classes[np.uintp(first)] & mask:
                return i
            i += 1
        else:
            kind, width = _class_at(data, i, classes)
            if not kind & mask:
                return i
            i += width
    return i


@njit(cache=True, nogil=True)
@no_type_check
def _number_end(data, i, stop, classes, n_more):
    while i < stop and n_more > 0:
        kind, width = _class_at(data, i, classes)
        if not kind & NUMBER:
            break
        i += width
        n_more -= 1
    return i


@njit(cache=True, nogil=True)
@no_type_check
def _others_end(data, i, stop, classes, family):
    i = _run_end(data, i, stop, classes, OTHER)
    if family != GPT2:
        while i < stop and (
            data[i] == 0x0A or data[i] == 0x0D or (family == O200K and data[i] == 0x2F)
        ):
            i += 1
    return i


@njit(cache=True, nogil=True)
@no_type_check
def _space_end(data, i, stop, classes, family, apart):
    r"""End of a match that is all white space.

    A run goes up to its last line end; or whole if the piece ends with it; or it leaves its last
    character to what follows. ``gpt4`` has the second rule first: ``\s++$``.
    """
    start, last, after_line_end = i, i, i
    at_end = True
    while i < stop:
        kind, width = _class_at(data, i, classes)
        if not kind & SPACE:
            at_end = apart and kind & NUMBER != 0
            break
        last = i
        i += width
        if kind & LINE_END:
            after_line_end = i
    if at_end and family in (GPT2, GPT4):
        return i
    if after_line_end > start and family != GPT2:
        return after_line_end
    return i if at_end or last == start else last


@njit(cache=True, nogil=True)
@no_type_check
def _contraction_end(data, i, stop, any_case):
    """End of a contraction whose apostrophe is at ``i``, or ``i``.

    Ignoring case, the long s (U+017F) is an s.
    """
    fold = 0x20 if any_case else 0
    if i + 1 >= stop:
        return i
    first = data[i + 1] | fold
    if first == 0x73 or first == 0x74 or first == 0x6D or first == 0x64:  # s t m d
        return i + 2
    if i + 2 >= stop:
        return i
    second = data[i + 2]
    if any_case and data[i + 1] == 0xC5 and second == 0xBF:
        return i + 3
    second |= fold
    if first == 0x6C and second == 0x6C:  # ll
        return i + 3
    if (first == 0x76 or first == 0x72) and second == 0x65:  # ve re
        return i + 3
    return i


@njit(cache=True, nogil=True)
@no_type_check
def _with_contraction(data, i, stop):
    return _contraction_end(data, i, stop, True) if i < stop and data[i] == 0x27 else i


@njit(cache=True, nogil=True)
@no_type_check
def _led_word_end(data, i, second, stop, classes, kind):
    """End of a word of ``o200k`` behind the one character at ``i``, or ``i`` where none is.

    If that character is a mark, it can be the word by itself.
    """
    end, ends_low = _cased_end(data, second, stop, classes)
    if not ends_low and kind & MARK:
        return _with_contraction(data, second, stop)
    return _with_contraction(data, end, stop) if end > second else i


@njit(cache=True, nogil=True)
@no_type_check
def _cased_end(data, i, stop, classes):
    """End of upper letters then lower ones, and whether there is a lower one.

    Letters without case, and marks, are both. If no lower letter follows the upper ones, the last
    of these that is both stands for it, and what comes after is left.
    """
    after_any_case = i
    start = i
    while i < stop:
        kind, width = _class_at(data, i, classes)
        if not kind & _UPPER_LIKE:
            if kind & LOWER:
                return _run_end(data, i + width, stop, classes, _LOWER_LIKE), True
            break
        i += width
        if kind & _ANY_CASE:
            after_any_case = i
    if after_any_case > start:
        return after_any_case, True
    return i, False
