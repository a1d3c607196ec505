"""Plots of the report as SVG text that takes its ink and font from the page."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = {"source": "#8a8f98", "initial": "#d9822b", "adapted": "#2b7de9", "control": "#2a9d6f"}
"""Mid-tones that stand out on white and on black."""
_INK = "#010203"
"""Drawn in this colour, turned into the page's text colour."""
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tokgraft",
    "font.size": 11,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.15,
    "grid.color": _INK,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Curve:
    """A training run: bits per byte of each step's batch over the bytes trained so far."""

    name: str
    n_bytes: Float[np.ndarray, " S"]
    bits: Float[np.ndarray, " S"]


@dataclass(frozen=True)
class Mark:
    """Held-out bits per byte at one point of a run."""

    name: str
    n_bytes: float
    bits: float


def curve_plot(curves: Sequence[Curve], marks: Sequence[Mark], source_bits: float | None) -> str:
    """Draw training batches as lines, held-out measures as marks, the source as a level."""
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(7.6, 4.0)
        for curve in curves:
            x, colour = curve.n_bytes / 1e6, COLOURS[curve.name]
            axes.plot(x, curve.bits, color=colour, alpha=0.25, linewidth=1)
            label = f"{curve.name}, training batches"
            axes.plot(x, _smooth(curve.bits), color=colour, linewidth=2, label=label)
        for mark in marks:
            label = f"{mark.name}, held-out"
            axes.plot(
                mark.n_bytes / 1e6, mark.bits, "D", color=COLOURS[mark.name], ms=8, label=label,
                markeredgecolor=_INK, zorder=3,
            )  # fmt: skip
        if source_bits is not None:
            label = "source, held-out"
            axes.axhline(source_bits, color=COLOURS["source"], linestyle="--", label=label)
        axes.set_xlabel("text trained on, MB")
        axes.set_ylabel("bits per byte")
        figure.legend(fontsize=9, loc="outside lower center", ncols=3)
        return _svg(figure)


def bars_plot(bars: Mapping[str, Sequence[tuple[str, float, float, float]]]) -> str:
    """Draw (model, value, low, high) by suite, with intervals."""
    with mpl.rc_context(_STYLE):
        height = 0.55 + sum(0.34 * len(group) + 0.28 for group in bars.values())
        figure, axes = _figure(7.6, height + 0.5)
        y, ticks, labels = 0.0, list[float](), list[str]()
        for suite, group in bars.items():
            for model, value, low, high in group:
                error = [[value - low], [high - value]]
                axes.barh(
                    y, value, 0.8, color=COLOURS[model], xerr=error, ecolor=_INK,
                    error_kw={"linewidth": 1, "capsize": 2},
                )  # fmt: skip
                axes.annotate(
                    f"{value:.3f}", (high, y), (6, 0), textcoords="offset points", va="center"
                )
                ticks.append(y)
                labels.append(f"{suite}: {model}")
                y += 1
            y += 0.8
        axes.set_yticks(ticks, labels)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.margins(x=0.1)
        axes.set_xlabel("bits per byte (less is better)")
        return _svg(figure)


def lengths_plot(old: Sequence[int], new: Sequence[int]) -> str:
    """Draw how many tokens of each vocabulary are how many bytes long."""
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(7.6, 3.0)
        edges = [length + 0.5 for length in range(25)]
        for lengths, name, label in ((old, "source", "old"), (new, "adapted", "new")):
            clipped = np.minimum(np.asarray(lengths, dtype=np.int64), 24)
            axes.hist(
                clipped, edges, color=COLOURS[name], alpha=0.3 if name == "adapted" else 0.45,
                label=f"{label}: {len(lengths):,} tokens",
            )  # fmt: skip
            axes.hist(clipped, edges, histtype="step", color=COLOURS[name], linewidth=1.6)
        axes.set_xticks([1, 4, 8, 12, 16, 20, 24], ["1", "4", "8", "12", "16", "20", "24+"])
        axes.set_xlabel("bytes in a token")
        axes.set_ylabel("tokens")
        axes.legend(fontsize=9)
        return _svg(figure)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_visible(False)
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    return figure, axes


def _smooth(values: Float[np.ndarray, " S"]) -> Float[np.ndarray, " S"]:
    """Average over a twentieth of the run around each step."""
    width = max(1, len(values) // 20)
    kernel = np.ones(width)
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="[a-z]+[\w.]*_\d+"', "", svg)  # the same in every plot of the page
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", svg)
    svg = re.sub(r' height="[^"]*"', "", svg, count=1)  # the first of each is the picture's own
    return re.sub(r' width="[^"]*"', "", svg, count=1)
