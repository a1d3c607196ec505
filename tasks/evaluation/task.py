"""The doors of the evaluation: measure a model, then compare models in a report."""

from infra.artifacts import Artifact, Attempt, Summary, open_artifact
from infra.parquet import read_table, write_table
from infra.settings import get_settings
from tasks.evaluation.config import EvaluationConfig
from tasks.shared.task import stage


@stage(name="measured", version=1, volatile=("timings.parquet",))
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
    lm = load_causal_lm(folder, device=_device())
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
        sorted(vocabulary.special_ids.values()),
        prompts,
        Sampling(choice.new_characters, choice.temperature, choice.top_p, config.seed),
    )
    write_table(attempt.folder / "metrics.parquet", metrics)
    write_table(attempt.folder / "documents.parquet", scored)
    write_table(attempt.folder / "continuations.parquet", continuations_table(continuations))
    write_table(attempt.folder / "timings.parquet", timings_table(continuations))
    dtype = str(lm.dtype).removeprefix("torch.")
    return {"dtype": dtype, "n_texts": len(pieces), "n_unscored": int(np.sum(~ok))} | {
        f"{row['suite']}_{row['metric']}": row["value"]
        for row in metrics.to_pylist()
        if row["subset"] == "all" and row["metric"] in ("bits_per_byte", "bytes_per_token")
    }


def _device() -> str:
    import torch

    asked = get_settings().device
    return ("cuda" if torch.cuda.is_available() else "cpu") if asked == "auto" else asked
