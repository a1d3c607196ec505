"""The numbers of a report in sentences: gains and losses alike, and how sure they are."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from tasks.evaluation.measure import FEW_DOCUMENTS
from tasks.evaluation.metric_rows import (
    Key,
    arms_of,
    format_interval,
    rows_by_key,
    suite_text,
    suites_of,
)


def sentences(metrics: pa.Table) -> list[str]:
    """Say what the numbers say: a line on all suites, then a paragraph on each."""
    by_key, suites = rows_by_key(metrics), suites_of(metrics)
    paragraphs = [" ".join(_about_suite(by_key, suite)) for suite in suites]
    return _overview(by_key, suites) + [paragraph for paragraph in paragraphs if paragraph]


def _overview(by_key: Mapping[Key, Mapping[str, Any]], suites: Sequence[str]) -> list[str]:
    """Name gains and losses in one breath, so that no suite hides behind another."""
    where: dict[str, list[str]] = {}
    for suite in suites:
        if row := by_key.get(("adapted", suite, "bits_per_byte_vs_source")):
            where.setdefault(_direction(row), []).append(suite_text(suite))
    if sum(map(len, where.values())) < 2:
        return []
    parts = [
        f"{word} on {_listed(where[word])}"
        for word in ("better", "worse", "not clearly different")
        if word in where
    ]
    return [f"Compared with the source model, the adapted model is {_listed(parts)}."]


def _about_suite(by_key: Mapping[Key, Mapping[str, Any]], suite: str) -> list[str]:
    source = by_key.get(("source", suite, "bits_per_byte"))
    adapted = by_key.get(("adapted", suite, "bits_per_byte"))
    if source is None or adapted is None:
        return []
    said = [
        f"On {suite_text(suite)}, the adapted model needs {adapted['value']:.3f} bits per byte "
        f"and the source model {source['value']:.3f}: "
        + _verdict(by_key.get(("adapted", suite, "bits_per_byte_vs_source")))
    ]
    if control := by_key.get(("adapted", suite, "bits_per_byte_vs_control")):
        said.append(
            "Against the control, the source model trained on the same bytes with its old "
            f"tokenizer: {_verdict(control)}"
        )
    initial = by_key.get(("initial", suite, "bits_per_byte"))
    saved = by_key.get(("adapted", suite, "tokens_saved"))
    if initial is not None and saved is not None:
        old, new = (by_key[arm, suite, "bytes_per_token"]["value"] for arm in ("source", "adapted"))
        share = saved["value"]
        said.append(
            f"Before any training the new rows gave {initial['value']:.3f}. A token carries "
            f"{new:.2f} bytes of this text where it carried {old:.2f}: {abs(share):.1%} "
            f"{'fewer' if share >= 0 else 'more'} tokens."
        )
    return said


def speed_sentences(speeds: Mapping[str, Mapping[str, float]], n_prompts: int) -> list[str]:
    """Say what longer tokens did to the speed of generation, as far as one timing shows it.

    Args:
        speeds: by model, then by unit.
        n_prompts: how many continuations were timed.

    Returns:
        One sentence or, where either model generated nothing, none.
    """
    old, new = speeds.get("source", {}), speeds.get("adapted", {})
    text, steps = "characters/s", "tokens/s"
    if not all(speed.get(unit) for speed in (old, new) for unit in (text, steps)):
        return []
    return [
        f"Generation takes one step a token: the source model wrote {old[text]:.0f} characters a "
        f"second in {old[steps]:.1f} steps, the adapted model {new[text]:.0f} in "
        f"{new[steps]:.1f}, so {new[text] / old[text]:.2f} times the text at "
        f"{new[steps] / old[steps]:.2f} times the steps (one timing of {n_prompts} short "
        "continuations, different texts, on this machine)."
    ]


def caveats(metrics: pa.Table) -> list[str]:
    """Say which intervals stand on few documents, and what they are then worth."""
    by_key, said = rows_by_key(metrics), list[str]()
    for suite in suites_of(metrics):
        found = [by_key.get((arm, suite, "n_documents")) for arm in arms_of(metrics)]
        few = [row for row in found if row and 0 < row["value"] < FEW_DOCUMENTS]
        if few:
            n = int(few[0]["value"])
            said.append(
                f"The {suite_text(suite)} is {n} {'document' if n == 1 else 'documents'} only: its "
                f"intervals resample {few[0]['n']} pieces of them, and say nothing about how "
                "other documents would differ."
            )
    return said


def _direction(row: Mapping[str, Any]) -> str:
    if row["low"] is not None and row["low"] <= 0 <= row["high"]:
        return "not clearly different"
    return "better" if row["value"] < 0 else "worse"


def _verdict(row: Mapping[str, Any] | None) -> str:
    """Say whether a difference in bits per byte is a gain, a loss, or not clear."""
    if row is None:
        return "no text was scored by both."
    direction, size = _direction(row), abs(row["value"])
    if row["low"] is None:
        return f"the adapted model is {direction} by {size:.3f}, on one text only."
    if direction == "not clearly different":
        return f"no clear difference ({row['value']:+.3f}{format_interval(row, '+.3f')})."
    near, far = sorted((abs(row["low"]), abs(row["high"])))
    return f"the adapted model is {direction} by {size:.3f} (between {near:.3f} and {far:.3f})."


def _listed(parts: Sequence[str]) -> str:
    """Join with commas and, before the last, "and"."""
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last
