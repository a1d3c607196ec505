"""Where the rows of one token come from, in a terminal."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.named_token import shown_token
from infra.artifacts import open_artifact, read_artifact
from infra.parquet import read_table
from tasks.shared.errors import InputError
from tasks.shared.readable import printable

LINEAGE_FILE = "lineage.parquet"
STAGES = ("embedding", "assembled", "export")
"""Those that keep lineage."""


class NoLineageError(InputError):
    """There is nothing that says where rows come from."""


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


def show(console: Console, lineage: pa.Table, token_id: int) -> None:
    """Print a token, and for input and head how its row was made and of which old rows.

    Args:
        console: where to.
        lineage: of the model.
        token_id: one of its tokens.
    """
    rows = lineage.filter(pc.field("id") == token_id).to_pylist()
    data = rows[0]["bytes"]
    without = "none, a special token" if rows[0]["text"] else "none"
    facts = {
        "token": shown_token(rows[0]),
        "id": str(token_id),
        "bytes": without if data is None else data.hex(" "),
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


def _say(console: Console, text: str, style: str = "") -> None:
    console.print(Text(text, style), soft_wrap=True)
