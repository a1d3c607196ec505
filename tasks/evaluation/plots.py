"""How models compare, and how long tokens are, as SVG."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np

from tasks.evaluation.plot_style import COLOURS, INK, STYLE, new_figure, to_svg


def bars_plot(bars: Mapping[str, Sequence[tuple[str, float, float, float]]]) -> str:
    """Draw (model, value, low, high) by suite, with intervals."""
    with mpl.rc_context(STYLE):
        height = 0.55 + sum(0.34 * len(group) + 0.28 for group in bars.values())
        figure, axes = new_figure(7.6, height + 0.5)
        y, ticks, labels = 0.0, list[float](), list[str]()
        for suite, group in bars.items():
            for model, value, low, high in group:
                error = [[value - low], [high - value]]
                axes.barh(
                    y, value, 0.8, color=COLOURS[model], xerr=error, ecolor=INK,
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
        return to_svg(figure)


def lengths_plot(old: Sequence[int], new: Sequence[int]) -> str:
    """Draw how many tokens of each vocabulary are how many bytes long."""
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(7.6, 3.0)
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
        return to_svg(figure)
