"""A training run as batches along the way, beside measures on text that is not trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.lines import Line2D

from tasks.evaluation.plot_style import COLOURS, INK, STYLE, new_figure, to_svg


@dataclass(frozen=True)
class Curve:
    """A training run: bits per byte of each step's batch over the bytes trained so far."""

    name: str
    n_bytes: Float[np.ndarray, " S"]
    bits: Float[np.ndarray, " S"]


@dataclass(frozen=True)
class Mark:
    """Bits per byte of text that is not trained on, at one point of a run."""

    name: str
    suite: str
    n_bytes: float
    bits: float


def curve_plot(curves: Sequence[Curve], marks: Sequence[Mark], levels: Mapping[str, float]) -> str:
    """Draw training batches as lines, measures as marks, the source as a level a suite.

    Args:
        curves: one a trained model.
        marks: of all models but the source.
        levels: the source's bits per byte by suite, the corpus' own first: it is drawn boldest.
    """
    looks = {suite: _SUITE_LOOKS[min(i, len(_SUITE_LOOKS) - 1)] for i, suite in enumerate(levels)}
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(7.6, 4.6)
        for curve in curves:
            x, colour = curve.n_bytes / 1e6, COLOURS[curve.name]
            axes.plot(x, curve.bits, color=colour, alpha=0.25, linewidth=1)
            axes.plot(x, _smooth(curve.bits), color=colour, linewidth=2)
        for suite, level in levels.items():
            look = looks[suite]
            axes.axhline(level, color=COLOURS["source"], linestyle=look.line, alpha=look.alpha)
        for mark in marks:
            look, colour = looks[mark.suite], COLOURS[mark.name]
            axes.plot(
                mark.n_bytes / 1e6, mark.bits, look.marker, ms=look.size, color=colour, zorder=3,
                alpha=look.alpha, markeredgecolor=INK if look.is_filled else colour,
                markerfacecolor=colour if look.is_filled else "none", markeredgewidth=look.edge,
            )  # fmt: skip
        axes.set_xlabel("text trained on, MB")
        axes.set_ylabel("bits per byte")
        handles = _legend(curves, marks, looks)
        figure.legend(handles=handles, fontsize=9, loc="outside lower center", ncols=3)
        return to_svg(figure)


@dataclass(frozen=True)
class _Look:
    """How a suite's marks and its source level are drawn."""

    marker: str
    line: Literal["--", ":", "-.", "-"]
    size: float
    alpha: float
    is_filled: bool

    @property
    def edge(self) -> float:
        return 1.0 if self.is_filled else 1.8


_SUITE_LOOKS = (
    _Look("D", "--", 8.0, 1.0, True),
    _Look("o", ":", 7.0, 0.8, False),
    _Look("s", "-.", 7.0, 0.8, False),
    _Look("^", "-", 7.0, 0.5, False),
)


def _legend(
    curves: Sequence[Curve], marks: Sequence[Mark], looks: Mapping[str, _Look]
) -> list[Line2D]:
    """Explain colours by model, and shapes by suite."""
    trained = {curve.name for curve in curves}
    handles = [
        Line2D([], [], color=COLOURS[name], linewidth=2, label=f"{name}, training batches")
        if name in trained
        else Line2D([], [], color=COLOURS[name], marker="D", linestyle="", label=name)
        for name in COLOURS
        if name in trained or any(mark.name == name for mark in marks)
    ]
    for suite, look in looks.items():
        handles.append(
            Line2D(
                [],
                [],
                color=COLOURS["source"],
                linestyle=look.line,
                marker=look.marker,
                markersize=look.size - 1,
                markeredgewidth=look.edge,
                alpha=look.alpha,
                markerfacecolor=COLOURS["source"] if look.is_filled else "none",
                label=f"{suite}: source level, marks",
            )
        )
    return handles


def _smooth(values: Float[np.ndarray, " S"]) -> Float[np.ndarray, " S"]:
    """Average over a twentieth of the run around each step."""
    width = max(1, len(values) // 20)
    kernel = np.ones(width)
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")
