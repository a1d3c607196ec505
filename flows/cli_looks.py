"""Commands that look at tokenizers and tokens, and run no stage."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from flows.cli_console import make_console


def inspect(
    tokenizer: Annotated[Path, typer.Argument(help="A folder with tokenizer.json.")],
    text: Annotated[str, typer.Argument(help="A file, a text, or - for standard input.")],
    compare: Annotated[Path | None, typer.Option(help="A second tokenizer beside it.")] = None,
) -> None:
    """Show what a tokenizer does to a text."""
    from flows.inspect_tokenizer import read_text_argument, show

    show(Console(), tokenizer, read_text_argument(text, sys.stdin.buffer), compare)


def explain(
    model: Annotated[
        str, typer.Argument(help="A folder that --export wrote, or an artifact's address.")
    ],
    token: Annotated[
        str, typer.Argument(help="A token's text, where a leading space counts, or its id.")
    ],
    take_as: Annotated[
        Literal["text", "id"] | None,
        typer.Option("--as", help="Take TOKEN for a text or an id alone."),
    ] = None,
) -> None:
    """Say where the rows of a token come from."""
    from flows.explain import read_lineage, show
    from flows.named_token import find_token

    lineage = read_lineage(model)
    show(make_console(), lineage, find_token(lineage, token, take_as))


def mixture(
    tokenizer: Annotated[Path, typer.Argument(help="A folder with tokenizer.json.")],
    sample: Annotated[list[str], typer.Option(help="name=path of a text file; two or more.")],
    n_merges: Annotated[
        int, typer.Option(min=1, help="How many of the first merges to use.")
    ] = 500,
) -> None:
    """Infer in which shares kinds of text stood in a tokenizer's training text."""
    from flows.mixture_command import infer

    infer(Console(), tokenizer, sample, n_merges)
