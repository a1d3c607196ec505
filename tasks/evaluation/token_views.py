"""Tokens as a person can read them: pieces of a text, lists by use, and where a row comes from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.shared.readable import readable
from tasks.shared.vocabulary import Vocabulary


def pieces_of_text(vocabulary: Vocabulary, ids: Sequence[int]) -> list[str]:
    """Show a tokenised text piece by piece."""
    return [readable(vocabulary.token_bytes[i], vocabulary.token_text[i]) for i in ids]


@dataclass(frozen=True)
class UsedToken:
    """A token and how often the training text uses it."""

    token_id: int
    shown: str
    count: int


def by_use(
    vocabulary: Vocabulary, counts: Mapping[int, int], new_ids: Sequence[int], n_listed: int
) -> tuple[list[UsedToken], list[UsedToken]]:
    """List the most and the least used new tokens."""
    order = sorted(new_ids, key=lambda i: (-counts.get(i, 0), i))
    used = [
        UsedToken(
            i, readable(vocabulary.token_bytes[i], vocabulary.token_text[i]), counts.get(i, 0)
        )
        for i in order
    ]
    return used[:n_listed], used[::-1][:n_listed]


@dataclass(frozen=True)
class Lineage:
    """How one row came about."""

    shown: str
    part: str
    method: str
    pieces: tuple[tuple[str, float], ...]
    note: str


def lineages(
    rows: Sequence[Mapping[str, Any]], source: Vocabulary, target: Vocabulary, ids: Sequence[int]
) -> list[Lineage]:
    """Explain the rows of ``ids``, input before head, in the order of ``ids``."""
    place = {token_id: index for index, token_id in enumerate(ids)}
    chosen = sorted(
        (row for row in rows if row["id"] in place),
        key=lambda row: (place[row["id"]], row["part"] != "input"),
    )
    return [
        Lineage(
            readable(target.token_bytes[row["id"]], target.token_text[row["id"]]),
            row["part"],
            row["method"],
            tuple(
                (readable(source.token_bytes[i], source.token_text[i]), weight)
                for i, weight in zip(row["source_ids"] or [], row["weights"] or [], strict=True)
            ),
            row["note"] or "",
        )
        for row in chosen
    ]
