"""The leaderboard as people read it: ranked lines a suite, and what they say in sentences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from tasks.evaluation.metric_rows import format_interval, suite_text, suites_of

CONTROLS = {
    "control_bytes": "control, equal bytes",
    "control_flops": "control, equal FLOPs",
}
NOTHING_TRAINED = (
    "Nothing was trained here, so there are no controls (the source model trained on): every "
    "model is compared with the source model as it is."
)
_HEADER: Final[tuple[str, ...]] = (
    "tokenizer", "initialiser", "seed", "before training", "after training", "less source",
    "less control, bytes", "less control, FLOPs", "bytes per token",
)  # fmt: skip

_Who = tuple[str, str | None, str | None, int]
"""Kind, tokenizer, initialiser, seed."""


@dataclass(frozen=True)
class Line:
    """One way on one suite. Values are rows of the leaderboard; ``None`` where not measured."""

    kind: str
    tokenizer: str
    initialiser: str
    seed: int
    untrained: Mapping[str, Any] | None
    trained: Mapping[str, Any] | None
    differences: Mapping[str, Mapping[str, Any]]
    """By the baseline's name, of the last model there is."""
    bytes_per_token: float

    @property
    def last(self) -> Mapping[str, Any]:
        """Bits per byte after training or, where there was none, before."""
        row = self.trained or self.untrained
        if row is None:
            raise ValueError(f"{self.tokenizer} {self.initialiser} was never measured")
        return row

    @property
    def label(self) -> str:
        """How a plot names it."""
        seed = f" #{self.seed}" if self.seed else ""
        return f"{' · '.join(filter(None, (self.tokenizer, self.initialiser)))}{seed}"


def lines_of(board: pa.Table, suite: str) -> list[Line]:
    """Rank everything that was measured on a suite, the best first."""
    found: dict[
        tuple[str, str | None, str | None, int], dict[bool, dict[str, Mapping[str, Any]]]
    ] = {}
    for row in board.to_pylist():
        if row["suite"] == suite and row["subset"] == "all":
            who = (row["kind"], row["tokenizer"], row["initialiser"], row["seed"])
            found.setdefault(who, {}).setdefault(row["is_trained"], {})[row["metric"]] = row
    lines = [_line(*who, by_phase) for who, by_phase in found.items()]
    return sorted(lines, key=lambda line: line.last["value"])


def _line(
    kind: str,
    tokenizer: str | None,
    initialiser: str | None,
    seed: int,
    by_phase: Mapping[bool, Mapping[str, Mapping[str, Any]]],
) -> Line:
    last = by_phase.get(True) or by_phase[False]
    prefix = "bits_per_byte_vs_"
    if kind in CONTROLS:
        initialiser = CONTROLS[kind] + (f" with {tokenizer}" if tokenizer else "")
        tokenizer = "source"
    return Line(
        kind,
        tokenizer or "source",
        initialiser or ("as it is" if kind == "source" else ""),
        seed,
        by_phase.get(False, {}).get("bits_per_byte"),
        by_phase.get(True, {}).get("bits_per_byte"),
        {name.removeprefix(prefix): row for name, row in last.items() if name.startswith(prefix)},
        last["bytes_per_token"]["value"],
    )


def board_table(board: pa.Table, suite: str) -> list[list[str]]:
    """Lay out a suite: a header, then a row a line, of equal length."""
    rows: list[list[str]] = [list(_HEADER)]
    for line in lines_of(board, suite):
        differences = [
            _difference(line.differences.get(name))
            for name in ("source", "control_bytes", "control_flops")
        ]
        values = [_bits(line.untrained), _bits(line.trained)]
        who = [line.tokenizer, line.initialiser, str(line.seed)]
        rows.append([*who, *values, *differences, f"{line.bytes_per_token:.2f}"])
    kept = [i for i in range(len(_HEADER)) if i < 2 or _says_something([row[i] for row in rows])]
    return [[row[i] for i in kept] for row in rows]


def _says_something(column: Sequence[str]) -> bool:
    """Seeds are shown where there are several; other columns where any line has a value."""
    head, *cells = column
    return len(set(cells)) > 1 if head == "seed" else any(cells)


def has_training(board: pa.Table) -> bool:
    """Whether any model of it was trained, and so the source model too, as a control."""
    return any(board["is_trained"].to_pylist())


def board_sentences(board: pa.Table) -> list[str]:
    """Say what won on each suite, whether the swap was worth it, and if there is no control."""
    said = [_about(lines_of(board, suite), suite) for suite in suites_of(board)]
    return said if has_training(board) else [*said, NOTHING_TRAINED]


def _about(lines: Sequence[Line], suite: str) -> str:
    swapped = [line for line in lines if line.kind == "swapped"]
    if not swapped:
        return f"On {suite_text(suite)} no model with a new tokenizer was measured."
    best = swapped[0]
    when = "after training" if best.trained else "before any training"
    said = (
        f"On {suite_text(suite)} the best of {len(swapped)} is {best.label}: "
        f"{best.last['value']:.3f} bits per byte {when}"
    )
    names = {"source": "the source model", **CONTROLS}
    for name, row in best.differences.items():
        said += f"; {_verdict(row, names[name].replace('control,', 'the control at'))}"
    return said + "."


def _verdict(row: Mapping[str, Any], other: str) -> str:
    if row["low"] is not None and row["low"] <= 0 <= row["high"]:
        return f"not clearly different from {other} ({row['value']:+.3f})"
    return f"{abs(row['value']):.3f} {'better' if row['value'] < 0 else 'worse'} than {other}"


def _bits(row: Mapping[str, Any] | None) -> str:
    return "" if row is None else f"{row['value']:.3f}"


def _difference(row: Mapping[str, Any] | None) -> str:
    return "" if row is None else f"{row['value']:+.3f}{format_interval(row, '+.3f')}"
