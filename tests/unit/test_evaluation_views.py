"""What the page shows of tokens, rows and runs."""

from pathlib import Path

import numpy as np
import pytest

from tasks.evaluation.curve_plot import Curve, Mark, curve_plot
from tasks.evaluation.token_views import lineages, readable
from tasks.shared.vocabulary import Vocabulary, read_vocabulary


@pytest.fixture(scope="module")
def vocabulary(tiny_model_folder: Path) -> Vocabulary:
    return read_vocabulary(tiny_model_folder)


@pytest.mark.parametrize(
    ("data", "shown"),
    [(b" a\n", "·a↵"), (b"\xc3", "\\xC3"), ("ä\u200b".encode(), "ä\\u200B"), (None, "<s>")],
)
def test_bytes_are_readable(data: bytes | None, shown: str):
    assert readable(data, "<s>") == shown


def note_of(vocabulary: Vocabulary, note: str, source_ids: list[int]) -> str:
    row = {"id": 300, "part": "head", "method": "prefix_prior", "note": note}
    row |= {"source_ids": source_ids, "weights": [1.0] * len(source_ids)}
    (found,) = lineages([row], vocabulary, vocabulary, [300])
    return found.note


def test_notes_name_old_tokens_as_they_look_elsewhere(vocabulary: Vocabulary):
    space_t, space = (vocabulary.token_text.index(raw) for raw in ("Ġt", "Ġ"))
    assert note_of(vocabulary, "log P(token | Ġt) = -1", [space_t]) == "log P(token | ·t) = -1"
    assert note_of(vocabulary, "Ġ before Ġt", [space]) == "· before Ġt"
    letter = vocabulary.token_text.index("l")
    assert note_of(vocabulary, "log P(token | l) = -1", [letter]) == "log P(token | l) = -1"


def test_the_curve_marks_every_suite_and_every_model():
    steps = np.arange(1.0, 30.0)
    curves = [Curve(name, steps * 1000, 2 - steps / 100) for name in ("adapted", "control")]
    levels = {"heldout": 1.9, "a$b$": 2.3}
    marks = [
        Mark(name, suite, 29_000.0, 1.7) for name in ("adapted", "control") for suite in levels
    ]
    svg = curve_plot(curves, [Mark("initial", "heldout", 0.0, 2.0), *marks], levels)
    for text in ("adapted, training batches", "control, training batches", "initial",
                 "heldout: source level, marks", "a$b$: source level, marks"):  # fmt: skip
        assert f">{text}<" in svg
