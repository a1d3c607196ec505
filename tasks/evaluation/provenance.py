"""Every artifact behind a report, found by following what each was made of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Made:
    """An artifact, and which models' numbers rest on it."""

    stage: str
    digest: str
    uri: str
    arms: tuple[str, ...]
    manifest: Mapping[str, Any] | None
    """Nothing where the store has it no longer."""


def trace(
    ends: Mapping[str, Sequence[Mapping[str, str]]],
    read: Callable[[str], Mapping[str, Any] | None],
) -> list[Made]:
    """Collect what the measured models were made of, inputs before outputs.

    Args:
        ends: by model, records (stage, digest, uri) of what it ends with.
        read: from an address to the manifest there; nothing where there is none.
    """
    records: dict[str, Mapping[str, str]] = {}
    manifests: dict[str, Mapping[str, Any] | None] = {}
    arms: dict[str, list[str]] = {}

    def visit(record: Mapping[str, str], arm: str) -> None:
        uri = record["uri"]
        reached = arms.setdefault(uri, [])
        if arm in reached:
            return
        reached.append(arm)
        if uri not in manifests:
            manifests[uri] = read(uri)
        for below in (manifests[uri] or {}).get("inputs", ()):
            visit(below, arm)
        records.setdefault(uri, record)

    for arm, ended_with in ends.items():
        for record in ended_with:
            visit(record, arm)
    return [
        Made(record["stage"], record["digest"], uri, tuple(arms[uri]), manifests[uri])
        for uri, record in records.items()
    ]


def arms_text(made: Made, arms: Sequence[str]) -> str:
    """Name the models that rest on an artifact."""
    return "all" if set(made.arms) >= set(arms) else ", ".join(made.arms)


def choices(made: Sequence[Made], arms: Sequence[str]) -> dict[str, Any]:
    """Collect each stage's config under its name, and whose it is where models differ.

    Equal configs of one stage stand once, for all the models that they serve.
    """
    merged: list[Made] = []
    for one in made:
        if one.manifest is None or one.stage.endswith("_lock"):
            continue  # a lock has the choices of the stage that it serves
        for index, other in enumerate(merged):
            if (one.stage, _config(one)) == (other.stage, _config(other)):
                both = tuple(arm for arm in arms if arm in {*one.arms, *other.arms})
                merged[index] = Made(other.stage, other.digest, other.uri, both, other.manifest)
                break
        else:
            merged.append(one)
    named: dict[str, Any] = {}
    for one in merged:
        whose = arms_text(one, arms)
        name = one.stage if whose == "all" else f"{one.stage} ({whose})"
        named[f"{name} {one.digest[:8]}" if name in named else name] = _config(one)
    return named


def _config(made: Made) -> Any:
    return (made.manifest or {}).get("config")
