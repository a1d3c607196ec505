"""Where the rows of one token come from, in a terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table
from rich.text import Text

from infra.artifacts import open_artifact, read_artifact
from infra.parquet import read_table
from tasks.shared.errors import InputError
from tasks.shared.readable import printable, readable

LINEAGE_FILE = "lineage.parquet"
STAGES = ("embedding", "assembled", "export")
"""Those that keep lineage."""
_N_SUGGESTED = 5
_N_NAMED = 10


class NoLineageError(InputError):
    """There is nothing that says where rows come from."""


class UnknownTokenError(InputError):
    """The tokenizer has no such token."""


class AmbiguousTokenError(InputError):
    """What was typed names more than one token."""


def read_lineage(model: str) -> pa.Table:
    """Read the lineage of an exported folder or of an artifact.

    Args:
        model: a folder with ``lineage.parquet``, or an artifact's address.

    Raises:
        NoLineageError: there is no such folder, or it holds no lineage.
    """
    remedy = (
        "name a folder that `tokgraft run --export` wrote, or an artifact of the stages "
        f"{', '.join(STAGES)}; a model that kept its tokenizer has no lineage."
    )
    if "://" in model:
        artifact = read_artifact(model.rstrip("/"))
        if artifact.stage not in STAGES:
            raise NoLineageError(f"{model} is of the stage {artifact.stage}; {remedy}")
        folder = open_artifact(artifact, LINEAGE_FILE)
    else:
        folder = Path(model)
    if not (folder / LINEAGE_FILE).is_file():
        what = f"has no {LINEAGE_FILE}" if folder.is_dir() else "is no folder"
        raise NoLineageError(f"{model} {what}; {remedy}")
    table = read_table(folder / LINEAGE_FILE)
    if "source_tokens" not in table.column_names:
        raise NoLineageError(
            f"{folder / LINEAGE_FILE} names no old tokens, as earlier versions wrote it; run again."
        )
    return table


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
    tokens = lineage.filter(pc.equal(lineage["part"], "input"))
    is_number = typed.isascii() and typed.isdecimal()
    by_id = {int(typed)} & {*tokens["id"].to_pylist()} if is_number and kind != "text" else set()
    by_text = set[int]() if kind == "id" else _with_text(tokens, typed)
    found = sorted(by_id | by_text)
    if len(found) == 1:
        return found[0]
    if found:
        raise AmbiguousTokenError(_several(tokens, typed, found, sorted(by_text), bool(by_id)))
    raise UnknownTokenError(_none(tokens, typed, kind))


def show(console: Console, lineage: pa.Table, token_id: int) -> None:
    """Print a token, and for input and head how its row was made and of which old rows.

    Args:
        console: where to.
        lineage: of the model.
        token_id: one of its tokens.
    """
    rows = lineage.filter(pc.equal(lineage["id"], token_id)).to_pylist()
    data = rows[0]["bytes"]
    facts = {
        "token": _shown(rows[0]),
        "id": str(token_id),
        "bytes": "none: a special token" if data is None else data.hex(" "),
    }
    for name, value in facts.items():
        _say(console, f"{name:<7}{value}")
    for row in rows:
        console.print()
        _say(console, f"{row['part']:<7}{printable(row['method'])}", "bold")
        if row["note"]:
            _say(console, f"       {printable(row['note'])}")
        console.print(_sources(row))
    if "head" not in lineage["part"].unique().to_pylist():
        _say(console, "\nhead   tied: the same row")


def _with_text(tokens: pa.Table, typed: str) -> set[int]:
    """Ids of tokens by what they stand for, or else by how they are written somewhere."""
    # A name is how special tokens are written in texts; of other tokens it is not.
    is_special = pc.is_null(tokens["bytes"])
    data = typed.encode("utf-8", "surrogateescape")
    named = pc.and_(is_special, pc.equal(tokens["text"], data.decode(errors="replace")))
    same = pc.fill_null(pc.equal(tokens["bytes"], pa.scalar(data, pa.binary())), False)
    exact = tokens.filter(pc.or_(same, named))
    if exact.num_rows:
        return {*exact["id"].to_pylist()}
    return {
        row["id"]
        for row in tokens.select(["id", "bytes", "text"]).to_pylist()
        if typed and typed in (row["text"], _shown(row))
    }


def _several(
    tokens: pa.Table, typed: str, found: Sequence[int], by_text: Sequence[int], has_id: bool
) -> str:
    if has_id and len(by_text) == 1:
        return (
            f"{typed} is both the text of token {by_text[0]} and the id of "
            f"{_named(tokens, [int(typed)])}; say --as text or --as id."
        )
    more = "" if len(found) <= _N_NAMED else f" and {len(found) - _N_NAMED} more"
    named = _named(tokens, found[:_N_NAMED]) + more
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
    wanted = tokens.filter(pc.is_in(tokens["id"], pa.array(ids, pa.int32()))).to_pylist()
    shown = {row["id"]: _shown(row) for row in wanted}
    return ", ".join(f"{shown[i]} ({i})" for i in ids)


def _sources(row: Mapping[str, Any]) -> Table | Text:
    sources = sorted(
        zip(row["weights"], row["source_ids"], row["source_tokens"], strict=True),
        key=lambda source: (-abs(source[0]), source[1]),
    )
    if not sources:
        return Text("       no old row by itself")
    table = Table(box=None, pad_edge=False)
    table.add_column("       weight", justify="right")
    table.add_column("old id", justify="right")
    table.add_column("old token", overflow="fold")
    for weight, old_id, token in sources:
        table.add_row(f"{weight:.4g}", str(old_id), Text(printable(token)))
    return table


def _shown(row: Mapping[str, Any]) -> str:
    """Show a token with nothing that would steer a terminal."""
    return readable(row["text"].encode() if row["bytes"] is None else row["bytes"])


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style), soft_wrap=True)
