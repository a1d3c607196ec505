"""Which files of an unpacked Debian package are documentation in a language."""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

_ENGLISH = frozenset({"C", "en", "en-US", "en_US", "en-us"})
_LANGUAGE = re.compile(r"[a-z]{2}([-_][A-Z]{2})?")
_PACKAGE_PAPERS = ("copyright", "changelog", "README", "NEWS", "AUTHORS", "TODO")


def is_wanted(path: str, paths: Sequence[str], exclude: Sequence[str]) -> bool:
    """Whether the source's own globs take a file; without globs everything is taken."""
    if any(fnmatchcase(path, glob) for glob in exclude):
        return False
    return not paths or any(fnmatchcase(path, glob) for glob in paths)


def documentation_format(path: str, language: str, package: str) -> str | None:
    """How to read a package's file; None when it is no help or manual page of the language.

    A file belongs to a language that its path names. A path that names none belongs to the
    package's: the language its name ends in, else English.

    Args:
        path: inside the package, such as ``usr/share/man/de/man1/ls.1.gz``.
        language: code such as ``de``, or ``en``.
        package: name of the package.
    """
    pure = PurePosixPath(path)
    name = pure.name.removesuffix(".gz")
    if name.startswith(_PACKAGE_PAPERS):
        return None
    if pure.is_relative_to("usr/share/man"):
        parts = pure.parts[3:-1]
        own = parts[0] if len(parts) == 2 else "en"
        return "man" if own.split(".")[0] == language else None
    format = {".html": "html", ".xhtml": "html", ".page": "mallard"}.get(PurePosixPath(name).suffix)
    if format is None or not _speaks(pure, name, language, package):
        return None
    return format


def _speaks(path: PurePosixPath, name: str, language: str, package: str) -> bool:
    """The first of folder, file name (``ch01.de.html``) and package name that names a language."""
    wanted = _ENGLISH if language == "en" else {language, language.replace("_", "-")}
    for named in (path.parts[3:-1], name.split(".")[1:-1][-1:], [_ending(package)]):
        languages = [part for part in named if part in wanted or _LANGUAGE.fullmatch(part)]
        if languages:
            return any(part in wanted or part.split("-")[0] == language for part in languages)
    return language == "en"


def _ending(package: str) -> str:
    return package.removesuffix("-us").rpartition("-")[2]
