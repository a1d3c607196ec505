"""Which held-out text is scored.

The choice depends on document ids alone, so every model of every run meets the same pieces.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from tasks.shared.text_pieces import cut_pieces

HELDOUT = "heldout"
"""The suite of the corpus' own held-out documents."""


@dataclass(frozen=True)
class Document:
    """A held-out document."""

    doc_id: str
    source: str
    suite: str
    text: str


@dataclass(frozen=True)
class Piece:
    """A stretch of a document, short enough for any tokenizer."""

    document: Document
    index: int
    text: str

    @property
    def n_bytes(self) -> int:
        """Length in UTF-8."""
        return len(self.text.encode())


def choose_pieces(
    documents: Iterable[Document], document_bytes: int, suite_bytes: int
) -> list[Piece]:
    """Fill each suite's budget breadth first: all first pieces, then all second ones.

    Many documents give narrow intervals, and a suite of few documents still fills its budget.

    Args:
        documents: all held-out documents, any order.
        document_bytes: most bytes of a piece.
        suite_bytes: a suite ends with the piece that reaches it.

    Returns:
        The pieces by suite, in the order chosen.
    """
    by_suite: dict[str, list[Document]] = {}
    for document in documents:
        by_suite.setdefault(document.suite, []).append(document)
    chosen: list[Piece] = []
    for suite in sorted(by_suite):
        in_order = sorted(by_suite[suite], key=lambda d: _hash(d.doc_id))
        chosen.extend(_fill(in_order, document_bytes, suite_bytes))
    return chosen


def _fill(documents: list[Document], document_bytes: int, budget: int) -> list[Piece]:
    chosen: list[Piece] = []
    waiting = documents
    index = 0
    while waiting and budget > 0:
        longer: list[Document] = []
        for document in waiting:
            # Cutting again for each index is cheap: only the head of the text is looked at.
            pieces = cut_pieces(document.text[: (index + 2) * document_bytes], document_bytes)
            if index >= len(pieces):
                continue
            piece = Piece(document, index, pieces[index])
            chosen.append(piece)
            longer.append(document)
            budget -= piece.n_bytes
            if budget <= 0:
                break
        waiting, index = longer, index + 1
    return chosen


def _hash(doc_id: str) -> str:
    return hashlib.sha256(doc_id.encode()).hexdigest()


def openings(pieces: list[Piece], n: int, n_characters: int) -> tuple[str, ...]:
    """Take the first words of ``n`` documents as prompts, ended at a space where there is one.

    The corpus' own documents come first: the model is adapted to their kind of text.
    """
    prompts: list[str] = []
    for piece in sorted(pieces, key=lambda piece: piece.document.suite != HELDOUT):
        if len(prompts) == n:
            break
        text = " ".join(piece.text.split())
        if piece.index == 0 and len(text) > n_characters:
            head = text[:n_characters]
            prompts.append(head[: head.rfind(" ")] if " " in head else head)
    return tuple(prompts)
