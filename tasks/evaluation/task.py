"""The doors of the evaluation: measure a model, then compare models in a report."""

import json
from typing import TYPE_CHECKING, Any

from infra.artifacts import (
    Artifact,
    Attempt,
    Summary,
    open_artifact,
    read_artifact,
    read_manifest,
)
from infra.devices import multiplies, torch_device
from infra.errors import ArtifactNotFoundError
from infra.object_store import store_at
from infra.parquet import read_table, write_table
from infra.settings import get_settings
from tasks.evaluation.config import EvaluationConfig, LeaderboardConfig, ReportConfig
from tasks.shared.task import stage

if TYPE_CHECKING:
    from tasks.evaluation.tokenizer_section import SizesShown
    from tasks.shared.vocabulary import Vocabulary


@stage(name="measured", version=2, volatile=("timings.parquet",))
def measure_model(
    attempt: Attempt, config: EvaluationConfig, model: Artifact, corpus: Artifact
) -> Summary:
    """Read a model as shipped and held-out texts; write its bits per byte and continuations."""
    import numpy as np

    from tasks.evaluation.generation import Sampling, continue_prompts
    from tasks.evaluation.intervals import Resampling
    from tasks.evaluation.measure import documents_table, metrics_table
    from tasks.evaluation.pieces import choose_pieces, openings
    from tasks.evaluation.tables import continuations_table, read_documents, timings_table
    from tasks.shared.bits_per_byte import check_document_bytes, encode_documents, score_documents
    from tasks.shared.document_prefix import document_prefix_id
    from tasks.shared.model_loading import load_causal_lm, load_tokenizer
    from tasks.shared.vocabulary import read_vocabulary

    folder = open_artifact(model)
    heldout = open_artifact(corpus, "heldout-*.parquet")
    documents = read_documents(map(read_table, sorted(heldout.glob("heldout-*.parquet"))))
    pieces = choose_pieces(documents, config.document_bytes, config.suite_bytes)
    device = torch_device()
    lm = load_causal_lm(folder, device=device)
    stored_dtype = lm.dtype
    if config.compute_dtype == "auto" and not multiplies(stored_dtype, device):
        lm = lm.float()
    check_document_bytes(
        config.document_bytes, getattr(lm.config.get_text_config(), "max_position_embeddings", None)
    )
    tokenizer, vocabulary = load_tokenizer(folder), read_vocabulary(folder)
    prefix_id = document_prefix_id(vocabulary.roles)
    ids_of, ok = encode_documents(tokenizer, [piece.text for piece in pieces])
    nats = score_documents(
        lm,
        ids_of,
        prefix_id,
        lambda done, total: attempt.progress(done, total, "tokens of held-out text"),
    )
    scored = documents_table(pieces, nats, [len(ids) for ids in ids_of], ok)
    metrics = metrics_table(scored, Resampling(config.n_resamples, config.confidence, config.seed))
    choice = config.generation
    prompts = choice.prompts or openings(pieces, choice.n_prompts, choice.prompt_characters)
    continuations = continue_prompts(
        lm,
        tokenizer,
        prefix_id,
        _never_generated(vocabulary, lm.config.get_text_config().vocab_size),
        prompts,
        Sampling(choice.new_characters, choice.temperature, choice.top_p, config.seed),
    )
    write_table(attempt.folder / "metrics.parquet", metrics)
    write_table(attempt.folder / "documents.parquet", scored)
    write_table(attempt.folder / "continuations.parquet", continuations_table(continuations))
    write_table(attempt.folder / "timings.parquet", timings_table(continuations))
    dtypes = {"dtype": stored_dtype, "compute_dtype": lm.dtype}
    return {
        **{name: str(dtype).removeprefix("torch.") for name, dtype in dtypes.items()},
        "n_texts": len(pieces),
        "n_unscored": int(np.sum(~ok)),
    } | {
        f"{row['suite']}_{row['metric']}": row["value"]
        for row in metrics.to_pylist()
        if row["subset"] == "all" and row["metric"] in ("bits_per_byte", "bytes_per_token")
    }


def _never_generated(vocabulary: "Vocabulary", n_rows: int) -> list[int]:
    """Ids of special tokens, and of rows that no token has."""
    spelled = {i for i, data in enumerate(vocabulary.token_bytes) if data is not None}
    return sorted({*range(n_rows)} - spelled | {*vocabulary.special_ids.values()})


@stage(name="report", version=5, volatile=("report.html",))
def write_report(
    attempt: Attempt,
    config: ReportConfig,
    source: Artifact,
    corpus: Artifact,
    tokenizer: Artifact,
    tokens: Artifact,
    embedding: Artifact,
    trained: Artifact,
    measured_source: Artifact,
    measured_initial: Artifact,
    measured_adapted: Artifact,
    *control: Artifact,
) -> Summary:
    """Read what each stage left; write the compared metrics and the page that explains them.

    ``control`` is empty, or the control's measures and its training.
    """
    from tasks.evaluation.compare import ARM_TABLES, Arm, compare
    from tasks.evaluation.intervals import Resampling
    from tasks.evaluation.metric_rows import rows_by_key
    from tasks.evaluation.page import render
    from tasks.evaluation.provenance import trace
    from tasks.evaluation.report import Story, make_page
    from tasks.evaluation.tables import read_documents
    from tasks.shared.model_loading import load_tokenizer
    from tasks.shared.vocabulary import read_vocabulary

    measured = {"source": measured_source, "initial": measured_initial, "adapted": measured_adapted}
    training = {"adapted": trained}
    if control:
        measured["control"], training["control"] = control
    arms = [
        Arm(name, *(_table(artifact, table) for table in ARM_TABLES))
        for name, artifact in measured.items()
    ]
    # What this run made is named beside the measures: a measure may come from an earlier run whose
    # model was the same to the byte but came about in another way.
    ends = {
        name: [training[name], end] if name in training else [end] for name, end in measured.items()
    }
    ends["adapted"] = [tokenizer, tokens, embedding, *ends["adapted"]]
    resampling = Resampling(config.n_resamples, config.confidence, config.seed)
    metrics = compare(arms, resampling)
    model, vocabulary = open_artifact(source, "*.json"), open_artifact(tokenizer, "*.json")
    heldout = sorted(open_artifact(corpus, "heldout-*.parquet").glob("heldout-*.parquet"))
    story = Story(
        origin=json.loads((model / "origin.json").read_text(encoding="utf-8")),
        heldout=read_documents(map(read_table, heldout)),
        corpus=_table(corpus, "sources"),
        source=(read_vocabulary(model), load_tokenizer(model)),
        target=(read_vocabulary(vocabulary), load_tokenizer(vocabulary)),
        tokens=_table(tokenizer, "vocabulary"),
        tokenizer_metrics=_table(tokenizer, "metrics"),
        source_counts=_table(tokenizer, "source_counts"),
        sizes=_sizes(tokenizer),
        counts=_table(tokens, "counts"),
        lineage=_table(embedding, "lineage"),
        norms=_table(embedding, "norms"),
        neighbours=_table(embedding, "neighbours"),
        map=_table(embedding, "map"),
        training={name: _table(artifact, "metrics") for name, artifact in training.items()},
        arms=arms,
        metrics=metrics,
        made=trace(
            {name: [one.model_dump() for one in made] for name, made in ends.items()},
            _manifest_at,
        ),
        dropped=_table(tokenizer, "dropped") if tokenizer.summary.get("n_dropped") else None,
        other_sizes=(
            _table(tokenizer, "other_sizes") if tokenizer.summary.get("n_other_sizes") else None
        ),
    )
    write_table(attempt.folder / "metrics.parquet", metrics)
    page = render(make_page(config, story))
    (attempt.folder / "report.html").write_text(page, encoding="utf-8")
    return {
        f"{suite}_{metric}": row["value"]
        for (model_name, suite, metric), row in rows_by_key(metrics).items()
        if model_name == "adapted" and metric.startswith(("bits_per_byte", "tokens_saved"))
    }


@stage(name="leaderboard", version=2, volatile=("leaderboard.html",))
def write_leaderboard(
    attempt: Attempt, config: LeaderboardConfig, source: Artifact, *measured: Artifact
) -> Summary:
    """Read the measures of many models; write their leaderboard as a table and as a page.

    Args:
        attempt: where to write.
        config: who the measured models are, in their order.
        source: the model that all began from.
        *measured: the measures.
    """
    from tasks.evaluation.compare import ARM_TABLES, Arm
    from tasks.evaluation.intervals import Resampling
    from tasks.evaluation.leaderboard import Measured, leaderboard
    from tasks.evaluation.leaderboard_page import render_board
    from tasks.evaluation.leaderboard_view import lines_of
    from tasks.evaluation.metric_rows import suites_of

    board = leaderboard(
        [
            Measured(who, Arm(who.name, *(_table(one, table) for table in ARM_TABLES)))
            for who, one in zip(config.contestants, measured, strict=True)
        ],
        Resampling(config.n_resamples, config.confidence, config.seed),
    )
    origin = json.loads((open_artifact(source, "origin.json") / "origin.json").read_text("utf-8"))
    places = [
        (who.name, one.digest, one.uri)
        for who, one in zip(config.contestants, measured, strict=True)
    ]
    write_table(attempt.folder / "leaderboard.parquet", board)
    page = render_board(board, origin, places, config.confidence)
    (attempt.folder / "leaderboard.html").write_text(page, encoding="utf-8")
    best = {suite: lines_of(board, suite)[0] for suite in suites_of(board)}
    return {f"{suite}_best": line.label for suite, line in best.items()} | {
        f"{suite}_bits_per_byte": line.last["value"] for suite, line in best.items()
    }


def _manifest_at(uri: str) -> dict[str, Any] | None:
    """Read a manifest by its place below the root, which may have moved since it was noted."""
    store = store_at(get_settings().store_root)
    try:
        return read_manifest(read_artifact(store.uri("/".join(uri.split("/")[-3:]))))
    except ArtifactNotFoundError:
        return None


def _sizes(tokenizer: Artifact) -> "SizesShown | None":
    from tasks.evaluation.tokenizer_section import SizesShown

    best = tokenizer.summary.get("recommended_size")
    if best is None:
        return None
    reason = str(tokenizer.summary["recommended_size_reason"])
    return SizesShown(_table(tokenizer, "sizes"), int(best), reason)


def _table(artifact: Artifact, name: str) -> Any:
    file = f"{name}.parquet"
    return read_table(open_artifact(artifact, file) / file)
