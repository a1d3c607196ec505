"""What a pre-tokenizer must do to be usable, tried out on it."""

from itertools import product
from string import printable

from tokenizers import Regex
from tokenizers.pre_tokenizers import Split

from tasks.shared.vocabulary_file import Json, unfold
from tasks.tokenizer.cutters import library_cutter
from tasks.tokenizer.errors import PretokenizerError

_AROUND_NOTHING = list(product(["", "a", "1", "-", " ", "\n"], repeat=2))[1:]
_PROBE = f"{printable} A\u0308rger, na\u00efve 12 \u4e00\u4e8c \u0664 \u2026\u00a0\U0001f642  x"


def check_regex(regex: str) -> None:
    """Refuse a regex that the library cannot read, or that finds words without a character.

    Raises:
        PretokenizerError: it says which.
    """
    try:
        Regex(regex)
        around_nothing = [
            before + after
            for before, after in _AROUND_NOTHING
            if _matches(f"{before}(?:{regex}){after}", before + after)
        ]
    # The library raises the base class.
    except Exception as error:
        raise PretokenizerError(
            f"The regex {regex!r} cannot be read by the tokenizers library ({error}); write it in "
            "Oniguruma's Ruby syntax, without comments."
        ) from None
    if around_nothing:
        raise PretokenizerError(
            f"The regex {regex!r} matches the empty string, for one inside {around_nothing[0]!r}; "
            "write + for *, so that every match has a character."
        )


def check_keeps_text(pre_tokenizer: Json) -> None:
    """Refuse a byte-level pre-tokenizer whose pieces are not the whole text.

    Raises:
        PretokenizerError: it drops something of a text that has every kind of character.
    """
    # A space that is added would hide one that is dropped.
    parts = [
        {**part, "add_prefix_space": False} if part["type"] == "ByteLevel" else part
        for part in unfold(pre_tokenizer)
    ]
    cutter = library_cutter(None, {"type": "Sequence", "pretokenizers": parts})
    n_kept = sum(len(cutter.to_bytes(piece)) for piece in cutter.cut(_PROBE))
    n_bytes = len(_PROBE.encode())
    if n_kept != n_bytes:
        raise PretokenizerError(
            f"The source's pre-tokenizer keeps {n_kept} of the {n_bytes} bytes of a text, and a "
            "vocabulary must write any text; choose another pretokenizer than source."
        )


def _matches(regex: str, text: str) -> bool:
    return not Split(Regex(regex), "removed").pre_tokenize_str(text)
