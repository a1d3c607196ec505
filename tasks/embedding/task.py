"""Door of the embedding stage."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from infra.artifacts import Artifact, Attempt, Summary, open_artifact
from tasks.embedding.config import Composed, EmbeddingConfig
from tasks.shared.task import stage

if TYPE_CHECKING:
    import numpy as np

    from tasks.embedding.constant_direction import ConstantDirection
    from tasks.embedding.row_plan import RowPlan
    from tasks.embedding.rows import NewRows, SourceRows
    from tasks.shared.model_rows import RowNames
    from tasks.shared.vocabulary import Vocabulary

VERSION = 1
"""Raise when the rows would change for the same config and inputs."""


@stage(name="embedding", version=VERSION)
def initialise_embeddings(
    attempt: Attempt,
    config: EmbeddingConfig,
    model: Artifact,
    tokenizer: Artifact,
    tokens: Artifact,
    corpus: Artifact,
) -> Summary:
    """Read old rows, make rows for every new token, write them and where each comes from."""
    from tasks.embedding.extra_rows import tool_texts, with_extra_rows
    from tasks.embedding.row_plan import plan_rows
    from tasks.embedding.rows import mean_rows
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
    if config.fallback == "error":
        plan.refuse_uncovered(target)
    names = find_row_names(model_folder)
    old = _read_rows(model_folder, names)
    method = config.initialiser
    vocabularies = (source, target)
    measured: Summary = {}
    if isinstance(method, Composed):
        found = _bias_direction(attempt, method, model_folder, source, corpus)
        measured = {"constant_direction_spread": found.spread}
        rows = _composed(method, old, plan, vocabularies, tokens, found)
    else:
        rows = mean_rows(old, plan)
    rows = with_extra_rows(rows, old, plan)
    return _write(attempt.folder, rows, old, plan, vocabularies, names) | measured


def _read_rows(folder: Path, names: RowNames) -> SourceRows:
    from infra.weights import TensorFolder
    from tasks.embedding.rows import SourceRows

    tensors = TensorFolder(folder)

    def read(name: str) -> np.ndarray:
        return tensors.get(name).float().numpy()

    input_VD = read(names.input)
    return SourceRows(
        input_VD,
        input_VD if names.tied else read(names.head),
        None if names.head_bias is None else read(names.head_bias),
        names.tied,
    )


def _composed(
    method: Composed,
    old: SourceRows,
    plan: RowPlan,
    vocabularies: tuple[Vocabulary, Vocabulary],
    tokens: Artifact,
    bias: ConstantDirection,
) -> NewRows:
    import numpy as np

    from infra.parquet import read_table
    from tasks.embedding.prefix_prior import counts_by_id
    from tasks.embedding.rows import composed_rows

    table = read_table(open_artifact(tokens, "counts.parquet") / "counts.parquet")
    ids, counts = (table[name].to_numpy().astype(np.int64) for name in ("id", "count"))
    counts_W = counts_by_id(ids, counts, len(vocabularies[1]))
    merges = [np.array(v.merges_of_rows(), dtype=np.int32).reshape(-1, 3) for v in vocabularies]
    return composed_rows(old, plan, method, merges[0], merges[1], counts_W, bias)


def _bias_direction(
    attempt: Attempt, method: Composed, model_folder: Path, source: Vocabulary, corpus: Artifact
) -> ConstantDirection:
    import numpy as np
    import torch

    from infra.devices import torch_device
    from infra.settings import get_settings
    from tasks.embedding.constant_direction import constant_direction
    from tasks.embedding.hidden_states import read_hidden_states
    from tasks.embedding.sampling import cut_windows
    from tasks.shared.document_prefix import document_prefix_id
    from tasks.shared.model_loading import load_causal_lm, load_tokenizer

    rng = np.random.default_rng(method.seed)
    texts = _sample_texts(corpus, method.direction_positions, rng)
    encodings = load_tokenizer(model_folder).encode_batch_fast(texts, add_special_tokens=False)
    windows = cut_windows(
        [encoding.ids for encoding in encodings],
        document_prefix_id(source.roles),
        method.direction_window_tokens,
        method.direction_positions,
        rng,
    )
    settings = get_settings()
    if settings.n_threads:
        torch.set_num_threads(settings.n_threads)
    hidden = read_hidden_states(
        load_causal_lm(model_folder, torch.float32, torch_device()),
        windows,
        lambda done, total: attempt.progress(
            float(done), float(total), "windows read by the source model"
        ),
    )
    return constant_direction(
        hidden.states, method.direction_ridge, method.max_direction_spread, hidden.logit_scale
    )


def _sample_texts(corpus: Artifact, n_tokens: int, rng: np.random.Generator) -> list[str]:
    import numpy as np

    from infra.parquet import iter_batches
    from tasks.embedding.sampling import choose_documents

    paths = sorted(open_artifact(corpus, "train-*.parquet").glob("train-*.parquet"))
    sizes = [batch["n_bytes"].to_numpy() for batch in iter_batches(paths, ["n_bytes"])]
    chosen = set(choose_documents(np.concatenate(sizes).astype(np.int64), n_tokens, rng))
    texts = (text for batch in iter_batches(paths, ["text"]) for text in batch["text"].to_pylist())
    return [text for i, text in enumerate(texts) if i in chosen]


def _write(
    folder: Path,
    rows: NewRows,
    old: SourceRows,
    plan: RowPlan,
    vocabularies: tuple[Vocabulary, Vocabulary],
    names: RowNames,
) -> Summary:
    import torch

    from infra.parquet import TableWriter
    from infra.weights import save_tensors
    from tasks.embedding.description import describe
    from tasks.embedding.lineage import SCHEMA, lineage_tables

    summary = describe(rows, old, plan)
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
        for table in lineage_tables(plan, rows, *vocabularies):
            writer.write(table)
    record = {
        "tie_word_embeddings": rows.head is None,
        "untied_by_method": summary["untied"],
        "n_rows": len(rows.input),
        "source_names": asdict(names),
    }
    (folder / "embedding.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    return summary
