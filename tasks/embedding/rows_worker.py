"""The rows of a vocabulary, here or on a node of the Ray cluster that settings name.

What is trained goes to a node where there are some, and to its GPU if it has one. The node reads
the artifacts itself; rows come back, and the stage goes on where it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from infra.artifacts import Artifact, open_artifact
from tasks.embedding.config import EmbeddingConfig
from tasks.embedding.config_learned import Hypernetwork, HyperOfa, TrainedNetwork
from tasks.embedding.config_prealign import PreAlign
from tasks.embedding.config_text import TokenDistillation

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float32

    from tasks.embedding.head_rule import HeadPrior
    from tasks.embedding.known import Known
    from tasks.embedding.made_rows import MadeRows
    from tasks.embedding.rows import NewRows
    from tasks.embedding.worker import Progress, Readers


class RowsJob(BaseModel):
    """What the stage was given; plain values, so that it travels to any machine."""

    model_config = ConfigDict(frozen=True)

    config: EmbeddingConfig
    model: Artifact
    tokenizer: Artifact
    tokens: Artifact
    corpus: Artifact
    others: tuple[Artifact, ...]

    def known(self) -> Known:
        """Old rows, both vocabularies, and what each new token is to the source."""
        from tasks.embedding.extra_rows import tool_texts
        from tasks.embedding.known import Known
        from tasks.embedding.row_plan import plan_rows
        from tasks.embedding.worker import read_counts, read_rows
        from tasks.shared.extra_tokens import read_extra_tokens
        from tasks.shared.model_rows import find_row_names
        from tasks.shared.vocabulary import Segmenter, read_vocabulary

        model, tokenizer = self.folders()
        source, target = read_vocabulary(model), read_vocabulary(tokenizer)
        extra = read_extra_tokens(tokenizer)
        plan = plan_rows(
            source,
            target,
            Segmenter(model).segment_all,
            self.config.special_tokens,
            tool_texts(extra.tools, self.config.tool_tokens),
            extra.reserved,
        )
        rows = read_rows(model, find_row_names(model), len(source))
        return Known(rows, plan, source, target, read_counts(self.tokens, len(target)))

    def folders(self) -> tuple[Path, Path]:
        """Of the model and of the tokenizer."""
        return open_artifact(self.model), open_artifact(self.tokenizer)

    def readers(self, progress: Progress) -> Readers:
        """What initialisers read beyond that."""
        from tasks.embedding.worker import Readers

        return Readers(progress, *self.folders(), self.tokens, self.corpus, self.others)


@dataclass(frozen=True)
class ComputedRows:
    """Rows of the whole vocabulary and what else came of making them."""

    rows: NewRows
    made: MadeRows
    head_losses: Float32[np.ndarray, " S"] | None
    """Before each step of fitting the head."""
    measured: dict[str, int | float]
    """Numbers for the stage's summary."""


def compute_rows(job: RowsJob, known: Known, progress: Progress) -> ComputedRows:
    """Make rows for every new token, and fit the head where that is asked for.

    Raises:
        InputError: as the initialiser, the fallback or the fit raises it.
    """
    from tasks.embedding.extra_rows import with_reserved_rows
    from tasks.embedding.fitted_head import check_own_head, with_fitted_head
    from tasks.embedding.initialise import Choices, initialise
    from tasks.embedding.type_rows import with_type_means
    from tasks.embedding.worker import term_types

    config, readers = job.config, job.readers(progress)
    check_own_head(config, known)
    measured: dict[str, int | float] = {}

    def prior() -> HeadPrior:
        found = readers.prior(config.prefix_prior, known)
        if found.direction is not None:
            measured["constant_direction_spread"] = found.direction.spread
        return found

    method = config.initialiser
    made = readers.make_rows(method, known)
    choices = Choices(method.method, method.head, config.fallback, config.fallback_seed)
    rows = initialise(known, made, choices, prior)
    if config.type_share:
        types, of_head = term_types(readers.tokenizer_folder), method.head in ("same", "untied")
        rows = with_type_means(rows, known.plan, types, config.type_share, of_head=of_head)
    fitted = None
    if config.head_fit is not None:
        rows, fitted = with_fitted_head(rows, config.head_fit, known, readers)
    rows = with_reserved_rows(rows, known.plan)
    measured |= made.measured
    if fitted is not None:
        measured |= fitted.measured
    return ComputedRows(rows, made, None if fitted is None else fitted.loss, measured)


def is_trained(config: EmbeddingConfig) -> bool:
    """Whether something is trained by gradients, which is work for a GPU."""
    method = config.initialiser
    if isinstance(method, Hypernetwork) and isinstance(method.network, TrainedNetwork):
        return True
    return config.head_fit is not None or isinstance(
        method, HyperOfa | PreAlign | TokenDistillation
    )


def compute_on_node(job: RowsJob, progress: Progress) -> ComputedRows:
    """Compute a job's rows on a node.

    Raises:
        InputError: as ``compute_rows`` raises it.
        StoreNotSharedError: the store is a folder that a node does not see.
    """
    from infra.ray_cluster import run_on_node
    from infra.settings import get_settings

    def show(report: dict[str, Any]) -> None:
        progress(report["done"], report["total"], report["text"])

    return run_on_node(compute_there, job.model_dump(mode="json"), get_settings(), show)


def compute_there(payload: dict[str, Any], report: Any) -> ComputedRows:
    """What the node is told to do."""
    job = RowsJob.model_validate(payload)

    def progress(done: int | float, total: int | float, text: str) -> None:
        report({"done": done, "total": total, "text": text})

    return compute_rows(job, job.known(), progress)
