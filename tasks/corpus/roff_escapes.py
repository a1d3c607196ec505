# ruff: noqa: RUF001  (the characters that look alike are the data here)
r"""Characters of roff: what ``\(bu``, ``\fB``, ``\*(Aq`` and their kin leave in plain text.

Fonts, sizes, colours and motions leave nothing; special characters become Unicode.
"""

import re
import unicodedata
from collections.abc import Mapping

SPECIAL_CHARACTERS: dict[str, str] = {
    **{"bu": "•", "en": "–", "em": "—", "hy": "-", "mi": "-", "pl": "+", "eq": "=", "sl": "/"},
    **{"aq": "'", "dq": '"', "lq": "“", "rq": "”", "oq": "‘", "cq": "’", "Bq": "„", "bq": "‚"},
    **{"Fo": "«", "Fc": "»", "fo": "‹", "fc": "›", "la": "⟨", "ra": "⟩", "ga": "`", "aa": "´"},
    **{"rs": "\\", "ha": "^", "ti": "~", "at": "@", "sh": "#", "Do": "$", "ba": "|", "or": "|"},
    **{"bv": "|", "br": "|", "ul": "_", "ru": "_", "lB": "[", "rB": "]", "lC": "{", "rC": "}"},
    **{"co": "©", "rg": "®", "tm": "™", "de": "°", "sc": "§", "ps": "¶", "dg": "†", "dd": "‡"},
    **{"mu": "×", "di": "÷", "+-": "±", "<=": "≤", ">=": "≥", "!=": "≠", "==": "≡", "~~": "≈"},
    **{"->": "→", "<-": "←", "<>": "↔", "ua": "↑", "da": "↓", "rA": "⇒", "lA": "⇐", "if": "∞"},
    **{"is": "∫", "pd": "∂", "sr": "√", "mc": "µ", "no": "¬", "12": "½", "14": "¼", "34": "¾"},
    **{"ss": "ß", "AE": "Æ", "ae": "æ", "OE": "Œ", "oe": "œ", "/O": "Ø", "/o": "ø", "oa": "å"},
    **{"ff": "ff", "fi": "fi", "fl": "fl", "Eu": "€", "Po": "£", "Ye": "¥", "ct": "¢", "**": "*"},
    **{"*a": "α", "*b": "β", "*g": "γ", "*d": "δ", "*e": "ε", "*l": "λ", "*m": "μ", "*p": "π"},
    **{"*s": "σ", "*w": "ω", "*W": "Ω", "*D": "Δ", "OK": "✓", "lz": "◊", "sq": "□", "ci": "○"},
    **{"hA": "⇔", "fm": "′", "sd": "″", "t+-": "±", "tmu": "×", "tdi": "÷", "lh": "☜", "rh": "☞"},
}
"""By roff name, the ones met in manual pages."""

PREDEFINED_STRINGS: dict[str, str] = {
    **{"Aq": "'", "lq": "“", "rq": "”", "L»": "»", "R«": "«", 'L"': "“", 'R"': "”", "--": "–"},
    **{"R": "®", "Tm": "™", "Gt": ">", "Lt": "<", "Am": "&", "Ba": "|", "PI": "π", "S": ""},
    **{"C`": "", "C'": "", "C+": "C++", "(la": "⟨"},
}
"""What ``\\*`` names before a page defines strings of its own."""

_ACCENTS = {
    "'": "\u0301",
    "`": "\u0300",
    "^": "\u0302",
    "~": "\u0303",
    ":": "\u0308",
    ",": "\u0327",
}

_NAME = r"(?:\[[^\]]*\]|\(..|.)"
_ESCAPE = re.compile(
    rf"""\\(?:
      \*(?P<string>{_NAME})
    | (?P<glyph>\[[^\]]*\]|\(..)
    | C'(?P<quoted_glyph>[^']*)'
    | N'(?P<code>\d+)'
    | o'(?P<overstruck>[^'])[^']*'
    | s(?:\[[^\]]*\]|'[^']*'|[-+]?\(..|[-+]?[123]\d|[-+]?\d)
    | [fFmMgkYVn][-+]?{_NAME}
    | [hvwbDLlRSXxZABH]'[^']*'
    | \$(?:{_NAME})
    | (?P<single>.)
    | $
    )""",
    re.VERBOSE,
)
_SINGLE = {"e": "\\", "E": "\\", "~": " ", "0": " ", "t": " "}
_SILENT = frozenset("&)/,|^%:{}ducaprz!?@#=;+")
_COMMENT = re.compile(r'(?<!\\)((?:\\\\)*)\\["#].*')


def strip_comment(line: str) -> str:
    r"""The line up to ``\"`` or ``\#``."""
    return _COMMENT.sub(r"\1", line) if "\\" in line else line


def resolve_escapes(text: str, strings: Mapping[str, str]) -> str:
    """The text as a terminal without fonts would show it.

    Args:
        text: one line or argument, comments removed.
        strings: strings that the page has defined, by name.
    """
    if "\\" not in text:
        return text

    def replacement(match: re.Match[str]) -> str:
        if (name := match["string"]) is not None:
            return resolve_escapes(_string(_bare(name), strings), {})
        if (name := match["glyph"]) is not None:
            return _glyph(_bare(name))
        if (name := match["quoted_glyph"]) is not None:
            return _glyph(name)
        if match["code"] is not None:
            return chr(int(match["code"]))
        if match["overstruck"] is not None:
            return match["overstruck"]
        single = match["single"]
        if single is None or single in _SILENT:
            return ""
        return _SINGLE.get(single, single)

    return _ESCAPE.sub(replacement, text)


def _bare(name: str) -> str:
    if name.startswith("["):
        return name[1:-1]
    return name[1:] if name.startswith("(") else name


def _string(name: str, strings: Mapping[str, str]) -> str:
    return strings.get(name, PREDEFINED_STRINGS.get(name, ""))


def _glyph(name: str) -> str:
    if name in SPECIAL_CHARACTERS:
        return SPECIAL_CHARACTERS[name]
    if name.startswith("char") and name[4:].isdecimal():
        return chr(int(name[4:]))
    if re.fullmatch(r"u[0-9A-F]{4,6}", name):
        return chr(int(name[1:], 16))
    if len(name) == 2 and name[0] in _ACCENTS:
        return unicodedata.normalize("NFC", name[1] + _ACCENTS[name[0]])
    return ""
