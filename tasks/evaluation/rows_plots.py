"""How new rows lie among old ones, as SVG."""

import matplotlib as mpl
import numpy as np
import pyarrow as pa
from jaxtyping import Float64

from tasks.evaluation.plot_style import COLOURS, STYLE, new_figure, to_svg

_LOOKS = (("old", COLOURS["source"]), ("new", COLOURS["adapted"]))


def norms_plot(old_Q: Float64[np.ndarray, " Q"], new_Q: Float64[np.ndarray, " Q"]) -> str:
    """Draw which share of the rows is no longer than each length.

    Args:
        old_Q: lengths of old rows at evenly spaced quantiles.
        new_Q: the same of new rows.
    """
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(7.6, 3.0)
        for (label, colour), norm_Q in zip(_LOOKS, (old_Q, new_Q), strict=True):
            percent_Q = np.linspace(0, 100, len(norm_Q))
            axes.plot(norm_Q, percent_Q, color=colour, linewidth=2, label=label)
        axes.set_xlabel("length of a row (Euclidean norm)")
        axes.set_ylabel("% of rows up to it")
        axes.legend(fontsize=9)
        return to_svg(figure)


def map_plot(points: pa.Table) -> str:
    """Draw old and new rows in the plane in which they differ most.

    Args:
        points: the embedding stage's ``map.parquet``.
    """
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(7.6, 5.0)
        figure.dpi = 200  # of the points, which are drawn as one picture: each by itself is long
        x, y = points["x"].to_numpy(), points["y"].to_numpy()
        is_new = points["is_new"].to_numpy(zero_copy_only=False)
        for (label, colour), here in zip(_LOOKS, (~is_new, is_new), strict=True):
            name = f"{label}: {here.sum():,} rows"
            axes.plot(
                x[here], y[here], "o", color=colour, markersize=3, markeredgewidth=0, alpha=0.55,
                label=name, rasterized=True,
            )  # fmt: skip
        share_x, share_y = (points[name][0].as_py() for name in ("share_x", "share_y"))
        axes.set_xlabel(f"first component, {share_x:.1%} of the variance")
        axes.set_ylabel(f"second component, {share_y:.1%}")
        axes.legend(fontsize=9)
        return to_svg(figure)
