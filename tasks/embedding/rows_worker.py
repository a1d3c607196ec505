"""Rows that are trained, on a node of the Ray cluster that settings name, on a GPU if it has one.

The node reads the artifacts itself; rows come back, and the stage goes on where it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from infra.artifacts import Artifact, open_artifact
from tasks.embedding.config import EmbeddingConfig, Initialiser
from tasks.embedding.config_learned import Hypernetwork, HyperOfa, TrainedNetwork
from tasks.embedding.config_prealign import PreAlign
from tasks.embedding.config_text import TokenDistillation

if TYPE_CHECKING:
    from tasks.embedding.known import Known
    from tasks.embedding.made_rows import MadeRows
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
        from tasks.embedding.worker import read_rows
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
        return Known(read_rows(model, find_row_names(model), len(source)), plan, source, target)

    def folders(self) -> tuple[Path, Path]:
        """Of the model and of the tokenizer."""
        return open_artifact(self.model), open_artifact(self.tokenizer)

    def readers(self, progress: Progress) -> Readers:
        """What initialisers read beyond that."""
        from tasks.embedding.worker import Readers

        return Readers(progress, *self.folders(), self.tokens, self.corpus, self.others)


def is_trained(method: Initialiser) -> bool:
    """Whether a method trains something by gradients, which is work for a GPU."""
    if isinstance(method, Hypernetwork):
        return isinstance(method.network, TrainedNetwork)
    return isinstance(method, HyperOfa | PreAlign | TokenDistillation)


def make_on_node(job: RowsJob, progress: Progress) -> MadeRows:
    """Make a job's rows on a node.

    Raises:
        InputError: as the initialiser raises it.
        StoreNotSharedError: the store is a folder that a node does not see.
    """
    from infra.ray_cluster import run_on_node
    from infra.settings import get_settings

    def show(report: dict[str, Any]) -> None:
        progress(report["done"], report["total"], report["text"])

    return run_on_node(make_there, job.model_dump(mode="json"), get_settings(), show)


def make_there(payload: dict[str, Any], report: Any) -> MadeRows:
    """What the node is told to do."""
    job = RowsJob.model_validate(payload)

    def progress(done: int | float, total: int | float, text: str) -> None:
        report({"done": done, "total": total, "text": text})

    return job.readers(progress).make_rows(job.config.initialiser, job.known())
