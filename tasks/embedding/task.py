"""Door of the embedding stage."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from infra.artifacts import Artifact, Attempt, Summary, open_artifact
from tasks.embedding.config import EmbeddingConfig
from tasks.shared.task import stage

if TYPE_CHECKING:
    from tasks.embedding.head_rule import HeadPrior
    from tasks.embedding.known import Known
    from tasks.embedding.rows import NewRows
    from tasks.shared.model_rows import RowNames

VERSION = 4
"""Raise when the rows would change for the same config and inputs."""
VIEWS = ("neighbours.parquet", "map.parquet", "norms.parquet")


@stage(name="embedding", version=VERSION, volatile=VIEWS)
def initialise_embeddings(
    attempt: Attempt,
    config: EmbeddingConfig,
    model: Artifact,
    tokenizer: Artifact,
    tokens: Artifact,
    corpus: Artifact,
    *donor: Artifact,
) -> Summary:
    """Read old rows, make rows for every new token, write them and where each comes from."""
    import pyarrow as pa

    from infra.parquet import write_table
    from tasks.embedding.extra_rows import tool_texts
    from tasks.embedding.initialise import Choices, initialise
    from tasks.embedding.known import Known
    from tasks.embedding.row_plan import plan_rows
    from tasks.embedding.type_rows import with_type_means
    from tasks.embedding.worker import Readers, read_rows, term_types
    from tasks.shared.extra_tokens import read_extra_tokens
    from tasks.shared.model_rows import find_row_names
    from tasks.shared.vocabulary import Segmenter, read_vocabulary

    model_folder, tokenizer_folder = open_artifact(model), open_artifact(tokenizer)
    source, target = read_vocabulary(model_folder), read_vocabulary(tokenizer_folder)
    extra = read_extra_tokens(tokenizer_folder)
    plan = plan_rows(
        source,
        target,
        Segmenter(model_folder).segment_all,
        config.special_tokens,
        tool_texts(extra.tools, config.tool_tokens),
        extra.reserved,
    )
    names = find_row_names(model_folder)
    known = Known(read_rows(model_folder, names, len(source)), plan, source, target)
    readers = Readers(attempt, model_folder, tokens, corpus, donor[0] if donor else None)
    measured: Summary = {}

    def prior() -> HeadPrior:
        found = readers.prior(config.prefix_prior, known)
        measured["constant_direction_spread"] = found.direction.spread
        return found

    method = config.initialiser
    choices = Choices(method.method, method.head, config.fallback, config.fallback_seed)
    made = readers.make_rows(method, known)
    rows = initialise(known, made, choices, prior)
    if config.type_share:
        types, of_head = term_types(tokenizer_folder), method.head in ("same", "untied")
        rows = with_type_means(rows, plan, types, config.type_share, of_head=of_head)
    if made.losses is not None:
        write_table(attempt.folder / "losses.parquet", pa.table({"loss": made.losses}))
    measured |= made.measured
    return _write(attempt.folder, rows, known, names) | measured


def _write(folder: Path, rows: NewRows, known: Known, names: RowNames) -> Summary:
    import torch

    from infra.parquet import TableWriter, write_table
    from infra.weights import save_tensors
    from tasks.embedding.description import describe
    from tasks.embedding.lineage import SCHEMA, lineage_tables
    from tasks.embedding.row_views import row_views

    summary = describe(rows, known.rows, known.plan)
    parts = {
        "input_rows": rows.input,
        "head_rows": rows.head,
        "head_bias": rows.head_bias,
    }
    present = {name: part for name, part in parts.items() if part is not None}
    save_tensors(
        folder / "embeddings.safetensors",
        {name: torch.from_numpy(part) for name, part in present.items()},
    )
    with TableWriter(folder / "lineage.parquet", SCHEMA) as writer:
        for table in lineage_tables(rows, known.source, known.target):
            writer.write(table)
    for name, table in row_views(known, rows).items():
        write_table(folder / f"{name}.parquet", table)
    record = {
        "tie_word_embeddings": rows.head is None,
        "untied_by_method": summary["untied"],
        "n_rows": len(rows.input),
        "source_names": asdict(names),
    }
    (folder / "embedding.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    return summary
