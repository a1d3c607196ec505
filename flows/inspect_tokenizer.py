"""What a tokenizer does to a text, in a terminal; a second one beside it where wanted."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tasks.evaluation.tokenizer_metrics import metric_lines
from tasks.shared.errors import InputError
from tasks.shared.readable import readable
from tasks.shared.scaffold_file import SCAFFOLD_FILE, Scaffolds, read_scaffolds
from tasks.shared.text_tokenizer import TextTokenizer, open_tokenizer
from tasks.shared.vocabulary import Vocabulary, read_vocabulary
from tasks.tokenizer.intrinsic import count_tokens_of, intrinsic_metrics
from tasks.tokenizer.metric_table import metrics_table
from tasks.tokenizer.scaffold_agreement import agreement_metrics
from tasks.tokenizer.token_kinds import find_kinds, longest_ids, vocabulary_metrics

_GROUNDS = ("black on #bcd9fa", "black on #fbd3a8", "black on #b9e6cc")
_BAR = "│"
_SHOWN_TOKENS = 500
_N_LONGEST = 10
_TOKEN_WIDTH = 32


class TextArgumentError(InputError):
    """There is no text to cut, or it is no text."""


def read_text_argument(argument: str, stdin: BinaryIO) -> str:
    """Read the text that a person named: ``-`` for standard input, a file, or the text itself.

    Raises:
        TextArgumentError: it is a folder, cannot be read, is no UTF-8, or is empty.
    """
    if os.path.isdir(argument):
        raise TextArgumentError(
            f"TEXT {argument} is a folder; name a file in it, or pipe the text in and give -."
        )
    # Unlike Path's, these tests take any text for an answer, however long.
    is_file = os.path.isfile(argument)
    named = "standard input" if argument == "-" else f"file {argument}" if is_file else "argument"
    try:
        if argument == "-":
            data = stdin.read()
        else:
            data = Path(argument).read_bytes() if is_file else os.fsencode(argument)
        text = data.decode()
    except UnicodeDecodeError as error:
        raise TextArgumentError(
            f"TEXT from the {named} is no UTF-8 (byte {error.start}); convert it first."
        ) from None
    except OSError as error:
        raise TextArgumentError(
            f"TEXT from the {named} cannot be read ({error.strerror}); give one that can."
        ) from None
    if not text:
        raise TextArgumentError(f"TEXT from the {named} is empty; give some text to cut.")
    return text


def show(console: Console, tokenizer_path: Path, text: str, compare: Path | None) -> None:
    """Print a text as tokens and ids, its metrics, and what stands out in the vocabulary.

    Args:
        console: where to; without colours, bars part the tokens.
        tokenizer_path: a folder with ``tokenizer.json``, or that file.
        text: not empty.
        compare: a second tokenizer to show beside it.

    Raises:
        TokenizerFileError: a file is absent or broken.
        UnsupportedTokenizerError: no byte can be told for this kind of tokenizer.
    """
    paths = [tokenizer_path] if compare is None else [tokenizer_path, compare]
    folders = [path.parent if path.name == "tokenizer.json" else path for path in paths]
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    sides = dict(zip(names, map(_read, folders), strict=True))
    for name, (tokenizer, vocabulary) in sides.items():
        _print_cut(console, name, vocabulary, tokenizer.encode(text, add_special_tokens=False).ids)
    scaffolds = {
        name: read_scaffolds(folder)
        for name, folder in zip(names, folders, strict=True)
        if (folder / SCAFFOLD_FILE).exists()
    }
    console.print(_metrics(sides, scaffolds, text))
    console.print("\nLongest tokens", style="bold")
    console.print(_longest(sides))


def _read(folder: Path) -> tuple[TextTokenizer, Vocabulary]:
    vocabulary, tokenizer = read_vocabulary(folder), open_tokenizer(folder)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer, vocabulary


def _print_cut(console: Console, name: str, vocabulary: Vocabulary, ids: Sequence[int]) -> None:
    shown = ids[:_SHOWN_TOKENS]
    more = f"; the first {len(shown):,} are shown" if len(shown) < len(ids) else ""
    console.print(Text(f"{name}: {len(ids):,} tokens{more}", "bold"))
    pieces = [_readable(vocabulary, i) for i in shown]
    # A line break stays one, behind its sign, so that the text keeps its lines.
    _print_parts(console, [piece.replace("↵", "↵\n") for piece in pieces], "", _BAR)
    _print_parts(console, [str(token_id) for token_id in shown], " ", " ")
    console.print()


def _readable(vocabulary: Vocabulary, token_id: int) -> str:
    """Show a token, one that has no bytes by its name, with nothing that would steer a terminal."""
    data = vocabulary.token_bytes[token_id]
    return readable(vocabulary.token_text[token_id].encode() if data is None else data)


def _print_parts(console: Console, parts: Sequence[str], between: str, plain: str) -> None:
    """Print parts on grounds that take turns; without colours only what is between them."""
    if console.color_system is None or console.no_color:
        line = Text(plain.join(parts))
    else:
        grounds = (_GROUNDS[i % len(_GROUNDS)] for i in range(len(parts)))
        line = Text(between).join(map(Text, parts, grounds))
    console.print(line, soft_wrap=True)


def _metrics(
    sides: Mapping[str, tuple[TextTokenizer, Vocabulary]],
    scaffolds: Mapping[str, Scaffolds],
    text: str,
) -> Table:
    counted = {name: count_tokens_of(*side, [text]) for name, side in sides.items()}
    measured = intrinsic_metrics("text", [text], counted)
    agreement = [
        metric
        for name, found in scaffolds.items()
        for metric in agreement_metrics("text", name, sides[name][0], found, [text])
    ]
    vocabularies = vocabulary_metrics({name: (side[1], None) for name, side in sides.items()})
    table = Table("metric", box=None, pad_edge=False)
    for name in sides:
        table.add_column(Text(name), justify="right")
    table.add_column("what it is", style="dim")
    tables = [measured, metrics_table(agreement), vocabularies]
    for line in metric_lines(pa.concat_tables(tables), tuple(sides)):
        table.add_row(*map(Text, (line.label, *line.values, line.note)))
    return table


def _longest(sides: Mapping[str, tuple[TextTokenizer, Vocabulary]]) -> Table:
    table = Table(box=None, pad_edge=False)
    columns: list[list[Text]] = []
    for name, (_, vocabulary) in sides.items():
        table.add_column("bytes", justify="right")
        table.add_column(Text(name))
        kinds = find_kinds(vocabulary)
        ids = longest_ids(kinds, _N_LONGEST).tolist()
        columns.append([Text(str(kinds.n_bytes[i])) for i in ids])
        columns.append([_cut_short(_readable(vocabulary, i)) for i in ids])
    for cells in zip(*columns, strict=False):
        table.add_row(*cells)
    return table


def _cut_short(token: str) -> Text:
    shown = Text(token)
    shown.truncate(_TOKEN_WIDTH, overflow="ellipsis")
    return shown
