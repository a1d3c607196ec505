"""Which token a person means by what they type."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from tasks.shared.errors import InputError
from tasks.shared.readable import readable

_N_SUGGESTED = 5
_N_NAMED = 10
_MOST_DIGITS = 9


class UnknownTokenError(InputError):
    """The tokenizer has no such token."""


class AmbiguousTokenError(InputError):
    """What was typed names more than one token."""


def find_token(lineage: pa.Table, typed: str, kind: Literal["text", "id"] | None = None) -> int:
    """Find the token that a person means.

    Args:
        lineage: of the model.
        typed: the token's text to the last space, its text as this program shows it (``·`` for a
            space), its string in the tokenizer (``Ġ``, ``▁``), or its id.
        kind: take it for a text, or for an id, alone.

    Raises:
        UnknownTokenError: nothing fits.
        AmbiguousTokenError: two or more do.
    """
    tokens = lineage.filter(pc.field("part") == "input")
    is_number = typed.isascii() and typed.isdecimal() and len(typed) <= _MOST_DIGITS
    by_id = {int(typed)} & {*tokens["id"].to_pylist()} if is_number and kind != "text" else set()
    by_text = set[int]() if kind == "id" else _with_text(tokens, typed)
    found = sorted(by_id | by_text)
    if len(found) == 1:
        return found[0]
    if found:
        raise AmbiguousTokenError(_several(tokens, typed, sorted(by_text), bool(by_id)))
    raise UnknownTokenError(_none(tokens, typed, kind))


def shown_token(row: Mapping[str, Any]) -> str:
    """Show a token of a lineage with nothing that would steer a terminal."""
    return readable(row["text"].encode() if row["bytes"] is None else row["bytes"])


def _with_text(tokens: pa.Table, typed: str) -> set[int]:
    """Ids of tokens by what they stand for, or else by how they are written somewhere."""
    # A name is how special tokens are written in texts; of other tokens it is not.
    data = typed.encode("utf-8", "surrogateescape")
    name = data.decode(errors="replace")
    same = pc.field("bytes") == pa.scalar(data, pa.binary())
    named = pc.field("bytes").is_null() & (pc.field("text") == name)
    if exact := [i for by in (same, named) for i in tokens.filter(by)["id"].to_pylist()]:
        return {*exact}
    return {
        row["id"]
        for row in tokens.select(["id", "bytes", "text"]).to_pylist()
        if typed and typed in (row["text"], shown_token(row))
    }


def _several(tokens: pa.Table, typed: str, by_text: Sequence[int], has_id: bool) -> str:
    if has_id and len(by_text) == 1:
        return (
            f"{typed} is both the text of token {by_text[0]} and the id of "
            f"{_named(tokens, [int(typed)])}; say --as text or --as id."
        )
    more = "" if len(by_text) <= _N_NAMED else f" and {len(by_text) - _N_NAMED} more"
    named = _named(tokens, by_text[:_N_NAMED]) + more
    return f"{typed!r} is the text of {len(by_text)} tokens: {named}; give an id and say --as id."


def _none(tokens: pa.Table, typed: str, kind: str | None) -> str:
    n = tokens.num_rows
    if kind == "id":
        return f"{typed!r} is no id of this tokenizer; give a whole number from 0 to {n - 1}."
    near = _begin_alike(tokens, typed)
    like = f"nearest are {_named(tokens, near)}" if near else "no token begins like it"
    return (
        f"{typed!r} is not one token of this tokenizer ({like}); a leading space counts, and an id "
        f"from 0 to {n - 1} will do too."
    )


def _begin_alike(tokens: pa.Table, typed: str) -> list[int]:
    """Ids of tokens that begin as the typed text does, with or without a space before it.

    Those that share most come first, then the shorter ones, then the lower ids.
    """
    wanted = typed.encode("utf-8", "surrogateescape").removeprefix(b" ")
    best = list[tuple[int, int, int]]()
    for row in tokens.select(["id", "bytes", "text"]).to_pylist():
        data = row["text"].encode() if row["bytes"] is None else row["bytes"].removeprefix(b" ")
        n_shared = next(
            (i for i, (a, b) in enumerate(zip(data, wanted, strict=False)) if a != b),
            min(len(data), len(wanted)),
        )
        if n_shared:
            best.append((-n_shared, len(data), row["id"]))
    return [token_id for _, _, token_id in sorted(best)[:_N_SUGGESTED]]


def _named(tokens: pa.Table, ids: Sequence[int]) -> str:
    wanted = tokens.filter(pc.field("id").isin(list(ids))).to_pylist()
    shown = {row["id"]: shown_token(row) for row in wanted}
    return ", ".join(f"{shown[i]} ({i})" for i in ids)
