"""Lists of terms in files."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.tokenizer.term_errors import TermError
from tasks.tokenizer.term_presets import Term


def check_name(path: str) -> str:
    """The ending of a list's name, by which it is read.

    Raises:
        TermError: nothing reads files with that ending.
    """
    suffix = Path(path).suffix
    if suffix not in _READERS:
        raise TermError(
            f"{path} is no list of terms that is read here; give it as {' or '.join(_READERS)}."
        )
    return suffix


def read_terms(path: Path) -> list[Term]:
    """Read terms, in the order of the file; a term that comes again counts once.

    ``.txt`` is UTF-8 with a term a line and, if there is a tab, its type behind the tab; lines
    without text are passed over. ``.parquet`` has a column ``term`` and may have one ``type``.

    Raises:
        TermError: the file cannot be read, holds no terms, or has a row that is none.
    """
    read = _READERS[check_name(str(path))]
    terms = dict[str, Term]()
    try:
        for term in read(path):
            terms.setdefault(term.text, term)
    except (OSError, UnicodeDecodeError, pa.ArrowInvalid) as error:
        raise TermError(f"{path} cannot be read ({error}); check the path and the file.") from None
    if not terms:
        raise TermError(f"{path} holds no terms; leave the file out or fill it.")
    return list(terms.values())


def _read_text(path: Path) -> list[Term]:
    terms = list[Term]()
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), 1):
        if not line.strip():
            continue
        text, *types = line.split("\t")
        if not text.strip() or len(types) > 1:
            raise TermError(
                f"Line {number} of {path} is {line[:60]!r}; a line is a term, or a term, one tab "
                "and its type."
            )
        terms.append(Term(text, *(kind.strip() for kind in types)))
    return terms


def _read_parquet(path: Path) -> list[Term]:
    table = pq.read_table(path)
    columns = [name for name in ("term", "type") if name in table.column_names]
    wrong = [name for name in columns if not _is_text(table.schema.field(name).type)]
    if "term" not in columns or wrong:
        raise TermError(
            f"{path} has the columns {table.schema.names} ({', '.join(wrong) or 'none'} not text); "
            "it needs a column of strings named term and may have one named type."
        )
    texts = table["term"].to_pylist()
    kinds = table["type"].to_pylist() if "type" in columns else [""] * len(texts)
    empty = [number for number, text in enumerate(texts) if not (text or "").strip()]
    if empty:
        raise TermError(
            f"{len(empty)} of {len(texts)} rows of {path} have no term (first rows, counted from "
            f"0: {empty[:5]}); take them out."
        )
    return [Term(text, kind or "") for text, kind in zip(texts, kinds, strict=True)]


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


_READERS: dict[str, Callable[[Path], list[Term]]] = {".txt": _read_text, ".parquet": _read_parquet}
