# ruff: noqa: RUF001  (the characters that look alike are the data here)
"""The words of one ``mdoc`` line: which macro sets what before, around and after them."""

from collections.abc import Sequence

_ENCLOSURES = {
    "Op": ("[", "]"), "Oo": ("[", "]"), "Bq": ("[", "]"), "Bo": ("[", "]"),
    "Pq": ("(", ")"), "Po": ("(", ")"), "Aq": ("<", ">"), "Ao": ("<", ">"),
    "Brq": ("{", "}"), "Bro": ("{", "}"), "Dq": ("“", "”"), "Do": ("“", "”"),
    "Sq": ("‘", "’"), "So": ("‘", "’"), "Ql": ("‘", "’"), "Qq": ('"', '"'), "Qo": ('"', '"'),
    "In": ("<", ">"), "Mt": ("<", ">"),
}  # fmt: skip
_CLOSERS = {
    "Oc": "]", "Bc": "]", "Pc": ")", "Ac": ">", "Brc": "}", "Dc": "”", "Sc": "’", "Qc": '"',
}  # fmt: skip
_OPEN_ENDED = frozenset({"Oo", "Bo", "Po", "Ao", "Bro", "Do", "So", "Qo"})
_PLAIN_NAMES = (
    "Ar Pa Ev Cm Em Sy Va Vt Fa Ft Dv Er Ic Tn An Ad Ms Sx Lk No Li Xo Xc Cd Fc Ap St Lb Es"
)
_PLAIN = frozenset(_PLAIN_NAMES.split())
_SYSTEMS = {
    **{"Ux": "UNIX", "Bx": "BSD", "At": "AT&T UNIX"},
    **{"Fx": "FreeBSD", "Nx": "NetBSD", "Ox": "OpenBSD"},
}
_CLOSING = frozenset(".,:;)]?!")
_OPENING = frozenset("([")
_DEFAULT_ARGUMENT = "file ..."


class InlineRenderer:
    """Renders lines; remembers the page's name, which ``Nm`` without a word repeats."""

    def __init__(self) -> None:
        self._page_name = ""

    def render(self, arguments: Sequence[str]) -> str:
        """The line's words with their spacing."""
        line = _Line()
        trailing: list[str] = []
        words = list(arguments)
        while words and words[-1] in _CLOSING:
            trailing.insert(0, words.pop())
        pending: list[str] = []
        flag = False
        while words:
            word = words.pop(0)
            if word == "Fl":
                flag = True
                if not words or words[0] in _PLAIN or words[0] in _ENCLOSURES:
                    line.put("-")
                    line.glue()
            elif word == "Nm":
                flag = False
                self._name(line, words)
            elif word == "Xr" and words:
                page, section = words.pop(0), words.pop(0) if words else ""
                line.put(f"{page}({section})" if section not in _CLOSING and section else page)
            elif word in ("Fn", "Fo") and words:
                name, parameters = words.pop(0), words
                words = []
                line.put(f"{name}({', '.join(parameters)})" if word == "Fn" else f"{name}(")
            elif word in _ENCLOSURES:
                flag = False
                opening, closing = _ENCLOSURES[word]
                line.put(opening)
                line.glue()
                if word not in _OPEN_ENDED:
                    pending.append(closing)
            elif word in _CLOSERS:
                flag = False
                line.attach(_CLOSERS[word])
            elif word == "Ns":
                line.glue()
            elif word in _SYSTEMS:
                line.put(_SYSTEMS[word])
            elif word in _PLAIN:
                flag = False
                if word == "Ar" and not words:
                    line.put(_DEFAULT_ARGUMENT)
            elif word in _CLOSING:
                line.attach(word)
            elif word in _OPENING:
                line.put(word)
                line.glue()
            else:
                line.put(f"-{word}" if flag else word)
        for closing in reversed(pending):
            line.attach(closing)
        for mark in trailing:
            line.attach(mark)
        return line.text

    def _name(self, line: "_Line", words: list[str]) -> None:
        if words and words[0] not in _CLOSING and words[0] not in _ENCLOSURES and words[0] != "Ns":
            self._page_name = self._page_name or words[0]
            line.put(words.pop(0))
        else:
            line.put(self._page_name)


class _Line:
    def __init__(self) -> None:
        self.text = ""
        self._glued = True

    def put(self, word: str) -> None:
        self.text += word if self._glued else f" {word}"
        self._glued = False

    def attach(self, mark: str) -> None:
        self.text += mark
        self._glued = False

    def glue(self) -> None:
        self._glued = True
