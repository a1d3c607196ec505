"""What the page shows of tokens, rows and runs."""

import numpy as np
import pytest

from tasks.evaluation.curve_plot import Curve, Mark, curve_plot
from tasks.shared.readable import readable


@pytest.mark.parametrize(
    ("data", "shown"),
    [(b" a\n", "·a↵"), (b"\xc3", "\\xC3"), ("ä\u200b".encode(), "ä\\u200B"), (None, "<s>")],
)
def test_bytes_are_readable(data: bytes | None, shown: str):
    assert readable(data, "<s>") == shown


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
