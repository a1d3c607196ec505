"""The look that plots share, and SVG text that takes its ink and font from the page."""

import io
import re
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = {"source": "#8a8f98", "initial": "#d9822b", "adapted": "#2b7de9", "control": "#2a9d6f"}
"""Mid-tones that stand out on white and on black."""
INK = "#010203"
"""Drawn in this colour, turned into the page's text colour."""
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tokgraft",
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.15,
    "grid.color": INK,
    "legend.frameon": False,
    "text.parse_math": False,
}


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Make a figure without ground of its own; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_visible(False)
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    return figure, axes


def to_svg(figure: Figure) -> str:
    """Write the figure so that several fit into one page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="[a-z]+[\w.]*_\d+"', "", svg)  # the same in every plot of the page
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", svg)
    svg = re.sub(r' height="[^"]*"', "", svg, count=1)  # the first of each is the picture's own
    return re.sub(r' width="[^"]*"', "", svg, count=1)
