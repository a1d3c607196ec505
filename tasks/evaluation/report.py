"""From the tables of a run to its page.

Which tokens, texts and numbers are shown is decided here; how they look, in the template.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from tasks.evaluation.compare import Arm
from tasks.evaluation.config import ReportConfig
from tasks.evaluation.curve_plot import Curve, Mark, curve_plot
from tasks.evaluation.metric_rows import arms_of, rows_by_key, suites_of
from tasks.evaluation.page import Page
from tasks.evaluation.pieces import HELDOUT, Document
from tasks.evaluation.plots import bars_plot, lengths_plot
from tasks.evaluation.provenance import Made, arms_text, choices
from tasks.evaluation.rows_section import RowsSection, make_rows_section
from tasks.evaluation.summary import format_cell, summary_table
from tasks.evaluation.token_views import Lineage, UsedToken, by_use, lineages
from tasks.evaluation.tokenizer_section import SizesShown, TokenizerSection, make_section
from tasks.evaluation.wording import caveats, sentences, speed_sentences
from tasks.shared.text_tokenizer import TextTokenizer
from tasks.shared.vocabulary import Vocabulary


@dataclass(frozen=True)
class Story:
    """What a run left behind, read but not yet judged."""

    origin: Mapping[str, Any]
    heldout: Sequence[Document]
    corpus: pa.Table
    source: tuple[Vocabulary, TextTokenizer]
    target: tuple[Vocabulary, TextTokenizer]
    tokens: pa.Table
    """The new tokenizer's ``vocabulary.parquet``."""
    tokenizer_metrics: pa.Table
    source_counts: pa.Table
    """How often its held-out sample has each id of the source."""
    sizes: SizesShown | None
    counts: pa.Table
    lineage: pa.Table
    norms: pa.Table
    """Lengths of old and new rows."""
    neighbours: pa.Table
    map: pa.Table
    training: Mapping[str, pa.Table]
    """Step metrics of the adapted model and perhaps the control."""
    arms: Sequence[Arm]
    metrics: pa.Table
    """All arms compared."""
    made: Sequence[Made]
    """Every artifact that the measures rest on, inputs first."""
    dropped: pa.Table | None = None
    """Old tokens that made room for new ones."""
    other_sizes: pa.Table | None = None
    """Other vocabularies of the same run."""


def make_page(config: ReportConfig, story: Story) -> Page:
    """Choose what the page shows."""
    metrics, arms = story.metrics, arms_of(story.metrics)
    speeds = _speeds(story.arms)
    n_prompts = max(arm.continuations.num_rows for arm in story.arms)
    most, least, n_new, n_unused = _use_of_new_tokens(config, story)
    return Page(
        title=f"{story.origin.get('origin', 'A model')} with a new tokenizer",
        sentences=sentences(metrics) + speed_sentences(speeds, n_prompts),
        caveats=caveats(metrics),
        summary=summary_table(metrics),
        by_source=_by_source(metrics),
        speeds=[(name, _speed_text(speed)) for name, speed in speeds.items()],
        origin=story.origin,
        plots={
            "curve": _curve(story),
            "bars": _bars(metrics),
            "lengths": lengths_plot(_lengths(story.source[0]), _lengths(story.target[0])),
        },
        most_used=most,
        least_used=least,
        n_new_tokens=n_new,
        n_unused=n_unused,
        rows=_rows(config, story, most),
        tokenizer=_tokenizer(config, story),
        continuations=_continuations(story.arms),
        corpus=story.corpus.to_pylist(),
        artifacts=[
            (m.stage, arms_text(m, arms), m.digest, m.uri, m.manifest is not None)
            for m in story.made
        ],
        config_yaml=_config_yaml(config, story, arms),
        environment=_environment(story.made[-1].manifest or {}) | _compute_dtypes(story.made),
        confidence=config.confidence,
        has_control=any(arm.name == "control" for arm in story.arms),
    )


def _use_of_new_tokens(
    config: ReportConfig, story: Story
) -> tuple[list[UsedToken], list[UsedToken], int, int]:
    counts = dict(
        zip(story.counts["id"].to_pylist(), story.counts["count"].to_pylist(), strict=True)
    )
    new_ids = [row["id"] for row in story.tokens.to_pylist() if _is_new(row)]
    most, least = by_use(story.target[0], counts, new_ids, config.n_tokens_listed)
    return most, least, len(new_ids), sum(counts.get(i, 0) == 0 for i in new_ids)


def _is_new(row: Mapping[str, Any]) -> bool:
    """Whether a token is worth listing as new; reserved ones stand in no text."""
    return row["is_new"] and row["formation"] != "reserved"


def _rows(config: ReportConfig, story: Story, most_used: Sequence[UsedToken]) -> RowsSection:
    explained = _lineages(config, story, most_used)
    return make_rows_section(story.lineage, story.norms, story.neighbours, story.map, explained)


def _lineages(config: ReportConfig, story: Story, most_used: Sequence[UsedToken]) -> list[Lineage]:
    """Explain the most used new tokens and, for the second half, tokens from all over."""
    new_ids = [row["id"] for row in story.tokens.to_pylist() if _is_new(row)]
    head = [token.token_id for token in most_used[: (config.n_lineages + 1) // 2]]
    rest = [i for i in new_ids if i not in head]
    spread = np.linspace(0, len(rest) - 1, config.n_lineages - len(head)) if rest else []
    ids = list(dict.fromkeys([*head, *(rest[int(place)] for place in spread)]))
    wanted = pa.array([i in set(ids) for i in story.lineage["id"].to_pylist()], pa.bool_())
    rows = story.lineage.filter(wanted).to_pylist()
    return lineages(rows, story.source[0], story.target[0], ids)


def _tokenizer(config: ReportConfig, story: Story) -> TokenizerSection:
    return make_section(
        story.tokenizer_metrics,
        story.tokens,
        story.source_counts["count"].to_numpy(),
        story.source,
        story.target,
        _paragraph(config, story),
        config.n_tokens_listed,
        story.sizes,
        story.dropped,
        story.other_sizes,
    )


def _paragraph(config: ReportConfig, story: Story) -> str:
    candidates = [d.text for d in story.heldout if d.suite == HELDOUT] or [
        d.text for d in story.heldout
    ]
    long = [text for text in candidates if len(text) >= config.paragraph_characters]
    text = max(candidates, key=len) if not long else long[0]
    return text[: config.paragraph_characters]


def _curve(story: Story) -> str:
    by_key, suites = rows_by_key(story.metrics), suites_of(story.metrics)

    def bits(arm: str) -> dict[str, float]:
        rows = {suite: by_key.get((arm, suite, "bits_per_byte")) for suite in suites}
        return {suite: row["value"] for suite, row in rows.items() if row}

    levels = bits("source")
    curves: list[Curve] = []
    points = [("initial", 0.0)]
    for name, table in story.training.items():
        n_bytes = table["bytes"].to_numpy().astype(np.float64)
        curves.append(Curve(name, n_bytes, table["bits_per_byte"].to_numpy().astype(np.float64)))
        if len(n_bytes):
            points.append((name, float(n_bytes[-1])))
    marks = [
        Mark(name, suite, n_bytes, value)
        for name, n_bytes in points
        for suite, value in bits(name).items()
        if suite in levels
    ]
    return curve_plot(curves, marks, levels)


def _bars(metrics: pa.Table) -> str:
    by_key, bars = rows_by_key(metrics), dict[str, list[tuple[str, float, float, float]]]()
    for suite in suites_of(metrics):
        for arm in arms_of(metrics):
            if row := by_key.get((arm, suite, "bits_per_byte")):
                value = row["value"]
                low, high = (value if row[end] is None else row[end] for end in ("low", "high"))
                bars.setdefault(suite, []).append((arm, value, low, high))
    return bars_plot(bars)


def _by_source(metrics: pa.Table) -> list[list[str]]:
    arms = arms_of(metrics)
    found = {
        (row["suite"], row["subset"], row["metric"], row["model"]): row
        for row in metrics.to_pylist()
        if row["subset"] != "all" and row["metric"] in ("bits_per_byte", "tokens_saved")
    }
    lines = sorted({key[:3] for key in found})
    return [["source", "measure", *arms]] + [
        [f"{suite}: {subset}", metric.replace("_", " ")]
        + [format_cell(metric, found.get((suite, subset, metric, arm))) for arm in arms]
        for suite, subset, metric in lines
    ]


def _speeds(arms: Sequence[Arm]) -> dict[str, dict[str, float]]:
    return {
        arm.name: {row["unit"]: row["value"] for row in rows}
        for arm in arms
        if (rows := arm.timings.to_pylist())
    }


def _speed_text(speed: Mapping[str, float]) -> str:
    return " · ".join(
        f"{value:,.0f} {unit}" if unit == "characters/s" else f"{value:,.1f} {unit}"
        for unit, value in speed.items()
    )


def _continuations(arms: Sequence[Arm]) -> list[tuple[str, list[tuple[str, str]]]]:
    by_prompt: dict[str, list[tuple[str, str]]] = {}
    for arm in arms:
        for row in arm.continuations.to_pylist():
            by_prompt.setdefault(row["prompt"], []).append((arm.name, row["continuation"]))
    return list(by_prompt.items())


def _lengths(vocabulary: Vocabulary) -> list[int]:
    return [len(data) for data in vocabulary.token_bytes if data]


def _config_yaml(config: ReportConfig, story: Story, arms: Sequence[str]) -> str:
    configs = choices(story.made, arms) | {"report": config.model_dump(mode="json")}
    return yaml.safe_dump(configs, sort_keys=False, allow_unicode=True)


def _compute_dtypes(made: Sequence[Made]) -> dict[str, str]:
    """In which dtypes training and evaluation multiplied; more than one if machines differed."""
    found: dict[str, set[str]] = {}
    for one in made:
        dtype = (one.manifest or {}).get("summary", {}).get("compute_dtype")
        if dtype:
            found.setdefault(f"{one.stage} computed in", set()).add(dtype)
    return {name: ", ".join(sorted(dtypes)) for name, dtypes in found.items()}


def _environment(manifest: Mapping[str, Any]) -> dict[str, str]:
    hardware = manifest.get("hardware", {})
    shown = {"python": manifest.get("python"), "git commit": manifest.get("git_commit")}
    shown |= {"cores": hardware.get("n_cores"), "machine": hardware.get("machine")}
    shown |= {"processor": hardware.get("processor")}
    if gpus := hardware.get("gpus"):
        shown |= {"gpu": ", ".join(gpus)}
    if memory := hardware.get("memory_bytes"):
        shown["memory"] = f"{memory / 1e9:.0f} GB"
    shown |= manifest.get("packages", {})
    return {name: str(value) for name, value in shown.items() if value is not None}
