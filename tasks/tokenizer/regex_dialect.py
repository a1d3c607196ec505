r"""The part of regex syntax that means the same to tokenizers and to tiktoken.

tokenizers reads a pattern with Oniguruma in Ruby's syntax, tiktoken with fancy-regex in Rust's. By
tokenizers 0.23 and tiktoken 0.14 they agree over all code points on ``\p{...}``, ``\s`` and ``\d``.
They differ on ``\w`` and ``[[:alpha:]]``, on ``^`` and ``$`` (of a line, of the text), on
``{1,3}+`` (repeated, possessive) and on ``(?i:ss)``, which is also ``ß`` to one of them. A pattern
with any of these cuts text otherwise without a word, so only what is known to agree passes.
"""

import re

from tasks.tokenizer.format_errors import NotExpressibleError

_CATEGORIES = "C[cfno]?|L[ulmot]?|M[nce]?|N[dlo]?|P[cdseifo]?|S[mcko]?|Z[slp]?"
_SCRIPTS = (
    "Arabic|Armenian|Bengali|Cyrillic|Devanagari|Georgian|Greek|Han|Hangul|Hebrew|Hiragana|Katakana"
    "|Latin|Tamil|Thai"
)
_PROPERTY = rf"[pP]\{{\^?(?:{_CATEGORIES}|{_SCRIPTS})\}}"
_ESCAPE = rf"\\(?:{_PROPERTY}|[sSdDnrtfv]|x\{{[0-9A-Fa-f]+\}}|[!-/:;=?@\[-`{{-~])"
_MEMBER = rf"(?:(?!--|~~)(?:{_ESCAPE}|[^\[\]\\]))"
_CLASS = rf"\[\^?(?:{_MEMBER}|\[(?!:)\^?{_MEMBER}+\])+\]"
_CONTRACTIONS = r"\(\?i:(?:'s\|'t\|'re\|'ve\|'m\|'ll\|'d|\[sdmt\]\|ll\|ve\|re)\)"
_REPEAT = r"\{\d+(?:,\d*)?\}"
_ITEM = re.compile(
    rf"(?P<unit>{_ESCAPE}|{_CLASS}|{_CONTRACTIONS}|[^\\\[\](){{}}^$*+?|])"
    rf"|(?P<open>\((?:\?(?:[:=!>]|<[=!]))?)(?!\?)|(?P<close>\))|(?P<either>\|)"
    rf"|(?P<end>\\[Az])|(?P<repeat>(?:[*+?]|{_REPEAT}(?=[^?]|$))[?+]?)"
)
_IN_RUST = {"^": r"\A", "$": r"\z"}


def check_portable(pattern: str) -> str:
    """Return a pattern that both libraries read alike.

    Raises:
        NotExpressibleError: it holds something else, or matches the empty string.
    """
    items = _items(pattern)
    if any(kind == "repeat" and text[0] == "{" and text[-1] == "+" for kind, text in items):
        raise NotExpressibleError(
            f"The pattern {pattern!r} repeats a repetition as in {{1,3}}+, which is possessive to "
            "tiktoken; write (?:x{1,3})+ for it."
        )
    if _may_be_empty(pattern):
        raise NotExpressibleError(
            f"The pattern {pattern!r} matches the empty string, which cuts no word; require a "
            "character in every alternative."
        )
    return pattern


def from_rust(pattern: str) -> str:
    r"""Write a pattern of tiktoken's so that both libraries read it alike.

    ``^`` and ``$`` become ``\A`` and ``\z``, ``x{1,3}+`` becomes ``(?>x{1,3})``.

    Raises:
        NotExpressibleError: as for ``check_portable``.
    """
    anchored = re.sub(
        rf"{_CLASS}|\\.|[\^$]", lambda found: _IN_RUST.get(found[0], found[0]), pattern
    )
    written: list[str] = []
    for kind, text in _items(anchored):
        if kind == "repeat" and text[0] == "{" and text[-1] == "+" and written[-1:] != [")"]:
            written.append(f"(?>{written.pop()}{text[:-1]})")
        else:
            written.append(text)
    return check_portable("".join(written))


def alternatives(pattern: str) -> list[str]:
    """Split a pattern at every ``|`` that is in no group.

    Raises:
        NotExpressibleError: the pattern holds something that is not known to be portable.
    """
    parts, depth = [""], 0
    for kind, text in _items(pattern):
        depth += (kind == "open") - (kind == "close")
        if kind == "either" and depth == 0:
            parts.append("")
        else:
            parts[-1] += text
    return parts


def _items(pattern: str) -> list[tuple[str, str]]:
    items: list[tuple[str, str]] = []
    place = 0
    while place < len(pattern):
        found = _ITEM.match(pattern, place)
        if found is None:
            raise NotExpressibleError(
                f"The pattern {pattern!r} holds {pattern[place : place + 12]!r}, which tokenizers "
                r"and tiktoken may read otherwise; write it with \p{...}, \s, classes and groups "
                "alone."
            )
        items.append((str(found.lastgroup), found[0]))
        place = found.end()
    return items


def _may_be_empty(pattern: str) -> bool:
    """Match the empty text, a letter in place of what ``re`` cannot read."""
    known = re.sub(rf"{_CLASS}|{_ESCAPE}", "a", pattern).replace(r"\z", r"\Z")
    try:
        return re.match(known, "") is not None
    except re.error as error:
        raise NotExpressibleError(f"The pattern {pattern!r} is no regex ({error}).") from None
