r"""The character classes of the regexes, by code point.

They must be those of the tokenizers library, which cuts the text in use, and libraries differ:
their Unicode versions do. So the table is a file taken from that library, and a test compares the
two over every code point. To renew it for another version, let ``Split`` with each regex of
``KINDS`` isolate its characters among all code points, and write the runs.

``Digits`` of the same library asks not its regex engine but the standard library of Rust, whose
Unicode version is newer: it knows ``new_number``, which ``\p{N}`` does not match.
"""

from functools import cache
from importlib.resources import files

import numpy as np
from jaxtyping import UInt8

UPPER, LOWER, CASELESS, MARK, NUMBER, SPACE, LINE_END, OTHER = (1 << bit for bit in range(8))
LETTER = UPPER | LOWER | CASELESS

KINDS = {
    "upper": (r"[\p{Lu}\p{Lt}]", UPPER),
    "lower": (r"\p{Ll}", LOWER),
    "caseless": (r"[\p{Lm}\p{Lo}]", CASELESS),
    "mark": (r"\p{M}", MARK | OTHER),
    "number": (r"\p{N}", NUMBER),
    "space": (r"[^\S\r\n]", SPACE),
    "line_end": (r"[\r\n]", SPACE | LINE_END),
    "other": (r"[^\s\p{L}\p{M}\p{N}]", OTHER),
}
r"""Regex and bits of each kind. ``OTHER`` is ``[^\s\p{L}\p{N}]``, so that marks have it too."""

_N_CODE_POINTS = 0x110000


@cache
def class_table(numbers_of_digits: bool) -> UInt8[np.ndarray, " C"]:
    r"""Give the bits of every code point.

    Args:
        numbers_of_digits: whether ``NUMBER`` is what ``Digits`` takes for a number, rather than
            what ``\p{N}`` matches.
    """
    text = files("tasks.tokenizer").joinpath("unicode_classes.txt").read_text(encoding="ascii")
    runs = [line.split() for line in text.splitlines() if not line.startswith("#")]
    bits = {kind: bits for kind, (_, bits) in KINDS.items()}
    bits["new_number"] = NUMBER if numbers_of_digits else OTHER
    firsts_R = np.array([int(first, 16) for first, _ in runs])
    bits_R = np.array([bits[kind] for _, kind in runs], dtype=np.uint8)
    table_C = np.repeat(bits_R, np.diff(firsts_R, append=_N_CODE_POINTS))
    table_C.flags.writeable = False
    return table_C
