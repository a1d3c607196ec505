"""A leaderboard as dots: before and after training, one line a way."""

from collections.abc import Sequence

import matplotlib as mpl

from tasks.evaluation.leaderboard_view import Line
from tasks.evaluation.plot_style import COLOURS, INK, STYLE, new_figure, to_svg


def board_plot(lines: Sequence[Line]) -> str:
    """Draw bits per byte of every line, the best on top, with the source as a level.

    Args:
        lines: ranked, of one suite.
    """
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(7.6, 0.9 + 0.34 * len(lines))
        for y, line in enumerate(lines):
            is_control = line.kind.startswith("control")
            colour = COLOURS["control" if is_control else "adapted"]
            if line.kind == "source":
                colour = COLOURS["source"]
                axes.axvline(line.last["value"], color=colour, linestyle="--", linewidth=1)
            ends = [row["value"] for row in (line.untrained, line.trained) if row]
            axes.plot(ends, [y] * len(ends), color=colour, alpha=0.4, linewidth=2)
            if line.untrained and line.trained:
                axes.plot(ends[0], y, "o", ms=6, color=COLOURS["initial"])
            last = line.last
            low, high = (last["value"] if last[e] is None else last[e] for e in ("low", "high"))
            error = [[last["value"] - low], [high - last["value"]]]
            axes.errorbar(
                last["value"], y, xerr=error, fmt="D", ms=7, color=colour, ecolor=INK,
                elinewidth=1, capsize=2,
            )  # fmt: skip
            axes.annotate(
                f"{last['value']:.3f}", (high, y), (7, 0), textcoords="offset points", va="center"
            )
        axes.set_yticks(range(len(lines)), [line.label for line in lines])
        axes.set_ylim(len(lines) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.margins(x=0.12)
        axes.set_xlabel("bits per byte (less is better); round: before training")
        return to_svg(figure)
