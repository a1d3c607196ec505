"""How two tokenizers spread text over their vocabularies, as SVG."""

import matplotlib as mpl
import numpy as np
import pyarrow as pa
from jaxtyping import Int64
from matplotlib.ticker import FuncFormatter, NullFormatter

from tasks.evaluation.plot_style import COLOURS, STYLE, new_figure, to_svg

_LOOKS = (("old", COLOURS["source"]), ("new", COLOURS["adapted"]))
_N_POINTS = 300
_LONGEST = 24


def rank_frequency_plot(
    old_counts: Int64[np.ndarray, " V"], new_counts: Int64[np.ndarray, " W"]
) -> str:
    """Draw how often the most frequent token, the second and so on occur, both axes in logarithms.

    Args:
        old_counts: how often a text has each old token.
        new_counts: how often the same text has each new one.
    """
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(7.6, 3.6)
        for (label, colour), counts in zip(_LOOKS, (old_counts, new_counts), strict=True):
            falling = -np.sort(-counts[counts > 0])
            # So many points show the line; one a token would be most of the page.
            ranks = np.unique(np.geomspace(1, max(1, len(falling)), _N_POINTS).astype(np.int64))
            ranks = ranks[: len(falling)]
            name = f"{label}: {len(falling):,} of {len(counts):,} tokens occur"
            axes.plot(ranks, falling[ranks - 1], color=colour, linewidth=2, label=name)
        axes.set_xscale("log")
        axes.set_yscale("log")
        # Given and not found in the data, for there may be none.
        both = np.concatenate([old_counts, new_counts])
        axes.set_xlim(0.8, 1.2 * max(10, len(old_counts), len(new_counts)))
        axes.set_ylim(0.8, 1.5 * max(10, both.max(initial=0)))
        for axis in (axes.xaxis, axes.yaxis):
            # The usual marks of such an axis are written in a notation that the style turns off.
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
            axis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("rank of a token")
        axes.set_ylabel("occurrences")
        axes.legend(fontsize=9)
        return to_svg(figure)


def lengths_in_text_plot(
    old_lengths: Int64[np.ndarray, " V"],
    old_counts: Int64[np.ndarray, " V"],
    new_lengths: Int64[np.ndarray, " W"],
    new_counts: Int64[np.ndarray, " W"],
) -> str:
    """Draw which share of a text stands in tokens of each length.

    Args:
        old_lengths: bytes of each old token.
        old_counts: how often the text has it.
        new_lengths: the same for the new tokens.
        new_counts: the same.
    """
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(7.6, 3.0)
        lengths_L = np.arange(1, _LONGEST + 1)
        sides = ((old_lengths, old_counts), (new_lengths, new_counts))
        for i, ((label, colour), (lengths, counts)) in enumerate(zip(_LOOKS, sides, strict=True)):
            clipped = np.minimum(lengths, _LONGEST)
            n_bytes_L = np.bincount(clipped, lengths * counts, minlength=_LONGEST + 1)[1:]
            shares_L = 100 * n_bytes_L / max(1.0, n_bytes_L.sum())
            axes.bar(lengths_L + 0.4 * i - 0.2, shares_L, 0.4, color=colour, label=label)
        axes.set_xticks([1, 4, 8, 12, 16, 20, 24], ["1", "4", "8", "12", "16", "20", "24+"])
        axes.set_xlabel("bytes in a token")
        axes.set_ylabel("% of the text")
        axes.legend(fontsize=9)
        return to_svg(figure)


def sizes_plot(sizes: pa.Table, recommended: int) -> str:
    """Draw what each size of the vocabulary costs and saves, as shares of the dearest.

    Args:
        sizes: the tokenizer stage's ``sizes.parquet``.
        recommended: the size to mark.
    """
    with mpl.rc_context(STYLE):
        figure, axes = new_figure(7.6, 3.2)
        size_S = sizes["vocabulary_size"].to_numpy()
        lines = {
            "FLOPs a byte of text": ("flops_per_byte", COLOURS["adapted"]),
            "tokens of the text": ("n_tokens", COLOURS["control"]),
            "memory": ("memory_bytes", COLOURS["initial"]),
        }
        for label, (column, colour) in lines.items():
            values_S = sizes[column].to_numpy()
            shares_S = 100 * values_S / values_S.max()
            axes.plot(size_S, shares_S, color=colour, linewidth=2, marker="o", label=label)
        axes.axvline(recommended, color=COLOURS["source"], linestyle=":", linewidth=1.5)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set_xlabel("tokens in the vocabulary")
        axes.set_ylabel("% of the most")
        axes.legend(fontsize=9)
        return to_svg(figure)
