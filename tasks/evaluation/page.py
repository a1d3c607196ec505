"""The report as one page that needs nothing but itself.

Texts, tokens and settings are other people's bytes: the template escapes every value, and only the
plots, which are made here, go in as they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from tasks.evaluation.rows_section import RowsSection
from tasks.evaluation.token_views import UsedToken
from tasks.evaluation.tokenizer_section import TokenizerSection


@dataclass(frozen=True)
class Page:
    """Everything the page shows."""

    title: str
    sentences: Sequence[str]
    caveats: Sequence[str]
    """Of the intervals."""
    summary: Sequence[Sequence[str]]
    by_source: Sequence[Sequence[str]]
    speeds: Sequence[tuple[str, str]]
    origin: Mapping[str, Any]
    plots: Mapping[str, str]
    """SVG by section: curve, bars, lengths."""
    most_used: Sequence[UsedToken]
    least_used: Sequence[UsedToken]
    n_new_tokens: int
    n_unused: int
    rows: RowsSection
    tokenizer: TokenizerSection
    continuations: Sequence[tuple[str, Sequence[tuple[str, str]]]]
    """A prompt, then model and continuation."""
    corpus: Sequence[Mapping[str, Any]]
    artifacts: Sequence[tuple[str, str, str, str, bool]]
    """Stage, whose, digest, address, and whether the store still has it."""
    config_yaml: str
    environment: Mapping[str, str]
    confidence: float
    has_control: bool = field(default=False)


def template(name: str) -> Template:
    """Load a template of this folder; it escapes every value that is no markup of ours."""
    environment = Environment(
        loader=PackageLoader("tasks.evaluation", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def render(page: Page) -> str:
    """Fill the template of the report."""
    plots = {name: Markup(svg) for name, svg in page.plots.items()}
    return template("report.html.j2").render(page=page, plots=plots)
